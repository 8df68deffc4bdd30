#!/bin/sh
# Makes the clips that the simulated camera shows: an evening at the sea, drawn
# by ffmpeg's geq filter, looping without a seam after 10 seconds. Run it only
# to change them: the results are committed. Needs Debian's ffmpeg and
# fonts-dejavu-core; some fifteen minutes on two cores, most of it drawing.
#
#	./make.sh [WORKDIR]      WORKDIR keeps the drawn scene between calls
#
#	h264.mp4        640x360p25, key frame each second, B-frames with pyramid
#	h264-small.mp4  320x180p25, the same: "new parameters"
#	h264-long.mp4   320x180p25, 30 s with one key frame
#	h264-plain.mp4  h264.mp4 without B-frames, as WebRTC wants it
#	h265.mp4        640x360p25, key frame each second, B-frames
#	mjpeg.mp4       320x180p5, baseline 4:2:0 with the standard Huffman tables (RFC 2435)
#	aac.mp4         48 kHz mono AAC-LC     opus.mp4  48 kHz mono, 20 ms packets
#	alaw.raw        8 kHz mono, 5 s
#
# The mp4 are fragmented, a fragment a key frame, one track each.
set -eu
cd "$(dirname "$0")"
work=${1:-$(mktemp -d)}
mkdir -p "$work"

# Parts of the picture; X Y T are those of geq. Every phase is a whole number of
# turns in 10 s.
hz=214
P='(2*PI*T/10)'
sun='exp(-(pow(X-440,2)+pow(Y-176,2))/5200)'
disc='clip(26.5-hypot(X-440,Y-176),0,1)'
cloud='(pow(max(0,sin(X/71+sin(Y/23)*1.3+'$P')*sin(Y/17+sin(X/113-'$P')*1.7+1)),2)*clip((190-Y)/110,0,1)*clip(Y/40,0,1))'
hill1='clip(Y-(203-15*sin(X/83+0.7)-9*sin(X/37)-3*sin(X/11)),0,1)'
hill2='clip(Y-(214-20*exp(-pow((X-610)/120,2))*(1+0.2*sin(X/13))-2*sin(X/9)),0,1)'
glint='(pow(max(0,sin(X/(3+(Y-'$hz')/6)+sin(Y*0.9+3*'$P')*2)*sin((Y-'$hz')*(Y+40)/190-6*'$P'+sin(X/29+2*'$P'))),2)*exp(-pow((X-440)/(26+(Y-'$hz')*0.75),2)))'
ripple='(sin(3000/(Y-'$hz'+14)+4*'$P'+sin(X/47+'$P'))*0.5+sin(X/19+1700/(Y-'$hz'+9)-5*'$P')*0.5)'
# headland and lighthouse
land='clip(Y-(236+70*pow(max(0,X-20)/190,2)-16*exp(-pow((X-112)/60,2))-1.5*sin(X/6)),0,1)'
tw='clip(7+(Y-104)*0.045-abs(X-112)+0.5,0,1)*between(Y,104,240)'
stripe='gt(mod(Y-104,42),21)'
gal='(between(X,101,123)*between(Y,100,104)+clip(7-abs(X-112),0,1)*between(Y,88,92)+between(X,106,118)*between(Y,92,99)+clip((Y-80)*0.9-abs(X-112),0,1)*between(Y,80,88))'
lamp='(exp(-(pow(X-112,2)+pow(Y-96,2))/60)*(0.45+0.55*pow(abs(cos('$P')),2)))'
c='cos('$P')'
beam='(gt((X-112)*'$c',0)*exp(-pow((Y-96-abs(X-112)*0.03)/(2.5+abs(X-112)*0.055),2))*exp(-abs(X-112)/(20+420*pow(abs('$c'),2)))*pow(abs('$c'),1.5)*0.55)'
# boat
bx='(-60+760*T/10)'; by='(258+1.6*sin(4*'$P'))'
hull='clip(22-abs(X-'$bx')-(Y-'$by')*0.9,0,1)*between(Y,'$by','$by'+8)'
sail='(clip((Y-('$by'-42))*0.42-(X-'$bx'-2),0,1)*gt(X,'$bx'+1)+clip((Y-('$by'-34))*0.30-('$bx'-1-X),0,1)*lt(X,'$bx'-1)*0.86)*between(Y,'$by'-42,'$by'-3)'
ch() { # sky top, sky horizon, sun, cloud, hill1, hill2, sea near, sea horizon, glint, land, tower a, tower b, boat, sail
sky="($1+($2-$1)*pow(clip(Y/$hz,0,1),1.6)+$3*$sun*0.75)"
sky="($sky*(1-0.55*$cloud)+0.55*$cloud*$4)"
sky="(($sky)*(1-$disc)+$disc*${16})"
sky="(st(0,$hill1);($sky)*(1-ld(0))+ld(0)*($5+$3*$sun*0.22))"
sky="(st(1,$hill2);($sky)*(1-ld(1))+ld(1)*$6)"
sea="($8+($7-$8)*pow((Y-$hz)/146,0.7)+7*$ripple+$9*$glint+0.25*$3*exp(-pow((X-440)/150,2))*exp(-(Y-$hz)/60))"
s="if(lt(Y,$hz),$sky,$sea)"
s="(st(2,clip($hull,0,1));st(3,clip($sail,0,1));(($s)*(1-ld(3))+ld(3)*${14})*(1-ld(2))+ld(2)*${13})"
s="(st(4,$land);st(5,clip($tw,0,1));st(6,clip($gal,0,1));((($s)*(1-ld(4))+ld(4)*${10})*(1-ld(5))+ld(5)*(if($stripe,${11},${12})*(0.55+0.45*clip((X-98)/22,0,1))))*(1-ld(6))+ld(6)*40)"
echo "clip($s+255*$lamp*0.9+${15}*$beam,0,255)"
}
r=$(ch 38 250 255 255 96 58 16 190 255 26 208 232 40 250 255 255)
g=$(ch 52 158 196 206 78 50 38 128 206 28 64 226 26 240 235 238)
b=$(ch 104 120 120 190 104 72 66 120 140 38 56 216 34 228 190 184)

ff() { ffmpeg -hide_banner -v error -y "$@"; }
if [ ! -f "$work/scene.mkv" ]; then
	ff -f lavfi -i "color=black:s=640x360:r=25:d=10,format=gbrp,geq=r='$r':g='$g':b='$b'" -c:v ffv1 "$work/part.mkv"
	mv "$work/part.mkv" "$work/scene.mkv"
fi

font=/usr/share/fonts/truetype/dejavu
# A clock would be a lie in a loop: what runs is the second of the loop, once as
# a figure and once as a line, so that a frozen or stuttering picture shows.
label="drawtext=fontfile=$font/DejaVuSans-Bold.ttf:fontsize=15:fontcolor=white@0.92:shadowcolor=black@0.5:shadowx=1:shadowy=1:x=16:y=14:text='SIMULATED CAMERA',\
drawtext=fontfile=$font/DejaVuSansMono.ttf:fontsize=15:fontcolor=white@0.92:shadowcolor=black@0.5:shadowx=1:shadowy=1:x=w-tw-16:y=14:text='%{eif\:floor(mod(t,10))\:d\:2}.%{eif\:floor(mod(n,25)*4)\:d\:2} / 10 s',\
split[a][b];color=white@0.85:s=640x3:r=25:d=30,format=yuva420p[l];[a][l]overlay=x='-640+640*(mod(n,250)+1)/250':y=357:shortest=1,format=yuv420p[c];[b]nullsink;[c]null"
frag="-movflags frag_keyframe+empty_moov+default_base_moof -video_track_timescale 90000 -map_metadata -1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact"
colour="-colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv"

ff -i "$work/scene.mkv" -filter_complex "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,$label" -c:v ffv1 "$work/main.mkv"
ff -i "$work/main.mkv" -c:v libx264 -preset veryslow -tune animation -crf 27 -g 25 -keyint_min 25 -sc_threshold 0 -bf 3 -profile:v high $colour $frag h264.mp4
ff -i "$work/main.mkv" -vf scale=320:180 -c:v libx264 -preset veryslow -crf 30 -g 25 -keyint_min 25 -sc_threshold 0 -bf 3 -profile:v main $colour $frag h264-small.mp4
ff -stream_loop 2 -i "$work/main.mkv" -vf scale=320:180 -c:v libx264 -preset veryslow -crf 34 -g 750 -keyint_min 750 -sc_threshold 0 -bf 3 -profile:v main $colour $frag h264-long.mp4
ff -i h264.mp4 -c:v libx264 -preset veryslow -tune animation -crf 30 -g 25 -keyint_min 25 -sc_threshold 0 -bf 0 -profile:v main $colour $frag h264-plain.mp4
ff -i "$work/main.mkv" -c:v libx265 -preset slow -crf 29 -tag:v hvc1 -x265-params log-level=error:keyint=25:min-keyint=25:scenecut=0:open-gop=0:bframes=3:info=0 $colour $frag h265.mp4
ff -i "$work/main.mkv" -vf fps=5,scale=320:180:out_range=pc,format=yuvj420p -c:v mjpeg -huffman default -q:v 7 $frag mjpeg.mp4

# Sound: surf, swelling twice in ten seconds, over a quiet fifth.
sea="anoisesrc=color=pink:seed=7:sample_rate=48000:duration=10,lowpass=f=900,volume='0.10+0.10*sin(2*PI*t/5)':eval=frame[n];\
sine=f=110:r=48000:d=10,volume=0.05[s1];sine=f=165:r=48000:d=10,volume=0.03[s2];[n][s1][s2]amix=inputs=3:normalize=0"
ff -f lavfi -i "$sea" -c:a aac -b:a 40k -ac 1 $frag aac.mp4
ff -f lavfi -i "$sea" -c:a libopus -b:a 24k -ac 1 -frame_duration 20 -application audio $frag opus.mp4
ff -f lavfi -i "$sea" -t 5 -ar 8000 -ac 1 -f alaw alaw.raw
ls -l ./*.mp4 ./*.raw
