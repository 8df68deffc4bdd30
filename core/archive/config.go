package archive

import (
	"path/filepath"
	"slices"
	"time"

	"media-server/core/archive/retain"
	"media-server/core/config"
)

// Config is [space.NAME], [pool.NAME] and the write buffer of [limits] in
// media-server.ini.
type Config struct {
	Spaces         []SpaceConfig // in the order of the files
	Pools          []PoolConfig
	WriteBuffer    time.Duration // how long a recording waits in memory for stuck storage; 30s. Past it the capture waits in its driver
	WriteBufferMax int64         // bytes of that, all recordings; 512M

	// Collected while binding: the sections are read one after the other and
	// their addresses must not move.
	spaces []*SpaceConfig
	pools  []*PoolConfig
}

// SpaceConfig is one [space.NAME]: a place where media files lie.
type SpaceConfig struct {
	Name      string
	Driver    string            // storage plugin; local
	Path      string            // folder, absolute; local needs it
	SizeLimit config.Size       // most the space may hold, or a share of its file system; 0 = no limit
	Reserve   config.Size       // kept free whatever happens, or a share; 64M
	Fsync     time.Duration     // longest time footage is not yet safe from a power cut; 500ms; -1 = never synced
	Settings  map[string]string // the driver's own keys
}

// PoolConfig is one [pool.NAME]: spaces that recordings are spread over.
type PoolConfig struct {
	Name          string
	Spaces        []string      // new files go where most is free in proportion
	Overwrite     bool          // the oldest goes when space runs out; true. false stops recording instead
	Days          time.Duration // longest time kept, whatever streams say; 0 = no limit
	OverwriteFree config.Size   // the oldest goes while less than this is free; 10%
	AlarmFree     config.Size   // an alarm below this, after 5 minutes; 10%
	LockMax       config.Size   // most that locks may keep; 0 = no limit
	Sign          bool          // files are signed
	Encrypt       bool          // files are encrypted
	DeleteMost    config.Size   // share of a stream's footage that its rules may take at once without being asked; 50%; 0 = all
	ArchiveTo     string        // pool that footage is moved to; "" = none
	ArchiveAfter  time.Duration // once it is so old; 0 = at once
	ArchiveAt     retain.Hours  // hours of the day in which it is moved; none = at any time
	ArchiveRate   int64         // bytes a second; 0 = no limit
	GroomAfter    time.Duration // age at which files keep their key frames only; 0 = never
	Stage         string        // space that footage is recorded in before it goes to Spaces; "" = none
}

// FsyncOff is the Fsync of a space that is never synced.
const FsyncOff = time.Duration(-1)

// DefaultName is the pool, and space, that is there when none is configured.
const (
	DefaultPool  = "default"
	DefaultSpace = "main"
)

// DefaultConfig is what holds where the ini says nothing.
func DefaultConfig() Config {
	return Config{WriteBuffer: 30 * time.Second, WriteBufferMax: 512 << 20}
}

func defaultSpace(name string) SpaceConfig {
	return SpaceConfig{Name: name, Driver: "local", Reserve: config.Size{Bytes: 64 << 20}, Fsync: 500 * time.Millisecond}
}

func defaultPool(name string) PoolConfig {
	return PoolConfig{Name: name, Overwrite: true, OverwriteFree: config.Size{Percent: 10}, AlarmFree: config.Size{Percent: 10}, DeleteMost: config.Size{Percent: 50}}
}

// Bind declares the keys. Call Complete after the load.
func (c *Config) Bind(set *config.Set) {
	l := set.Section("limits", "Bounds that keep one part of the server from starving another.")
	l.Duration("write-buffer", &c.WriteBuffer, time.Second, 10*time.Minute, "How long footage waits in memory for storage that does not answer. Past it, it waits in the driver ([plugins] buffer).").Restart()
	l.Bytes("write-buffer-max", &c.WriteBufferMax, 1<<20, "Most memory for that, all streams together.").Restart()

	set.Named("space", "A place where media files lie. Without any there is space main at data-dir/media. Keys not named here are the storage driver's own. Spaces and pools can be added and taken away while the server runs, here or by POST and DELETE /api/v1/spaces and pools (which write conf.d/spaces.ini); a space goes once it is empty or lost.", func(name string, s *config.Section) {
		sp := new(SpaceConfig)
		*sp = defaultSpace(name)
		c.spaces = append(c.spaces, sp)
		s.String("driver", &sp.Driver, "Storage plugin that keeps the files.").Restart().Needed()
		s.Path("path", &sp.Path, "Folder of the space; it must be there and be empty, or hold a space made before. On a mount of its own one sync makes all cameras durable; elsewhere there is one for each growing file.").Restart()
		s.Size("size-limit", &sp.SizeLimit, "Most the space may hold, or a share of its file system. 0 = no limit but the disk's.")
		s.Size("reserve", &sp.Reserve, "Kept free whatever happens, for other programs and for what deleting itself needs.")
		s.Duration("fsync", &sp.Fsync, 50*time.Millisecond, time.Minute, "Footage is safe from a power cut after this time at the latest. Shorter costs disk writes; off leaves it to the kernel (about 30 s).").
			Word("off", func() { sp.Fsync = FsyncOff })
		s.Rest(config.Rest{Doc: "The storage driver's own keys.", Effect: config.RestartServer, Into: &sp.Settings})
	})
	set.Named("pool", "Spaces that recordings are spread over; a stream names its pool in dvr-pool. Without any there is pool default with all spaces.", func(name string, s *config.Section) {
		p := new(PoolConfig)
		*p = defaultPool(name)
		c.pools = append(c.pools, p)
		s.List("spaces", &p.Spaces, "Names of its spaces. New files go where most is free in proportion, and elsewhere when a space fails or is full. The only pool may leave it out: it has all. Pools may share a space if they agree on overwrite and none of them has an archive-to.")
		s.Bool("overwrite", &p.Overwrite, "When space runs out the oldest footage goes; false = recording stops instead, with an alarm.")
		s.Duration("days", &p.Days, 0, 0, "Longest time any footage of the pool is kept. 0 = as the streams say.")
		s.Size("overwrite-free", &p.OverwriteFree, "The oldest goes while less than this is free above the reserve.")
		s.Size("alarm-free", &p.AlarmFree, "An alarm when less than this stays free for 5 minutes though old footage was deleted.")
		s.Size("lock-max", &p.LockMax, "Most that locks may keep, or a share of the pool; a lock that would take more is refused. 0 = no limit.")
		s.Size("delete-most", &p.DeleteMost, "Share of a stream's footage that its rules may delete at once, and of a space's that size-limit, reserve and overwrite-free may. More (a dvr-duration with a digit missing, 1G for 1T, a clock set years ahead) waits until somebody confirms, which counts for a week and for these settings, and so may what became too old while the server was off for long; what ages day by day, and what is overwritten as new footage comes, never waits. 100% = never ask.")
		s.Bool("sign", &p.Sign, "Sign what is recorded, so that media-server verify finds every byte changed, part cut or file taken away. About 0.7 CPU-seconds a GB.")
		s.Bool("encrypt", &p.Encrypt, "Encrypt what is recorded (AES-256-GCM, one key a stream and day). Files of before stay as they are. Without [keys] the footage is lost: see [backup]. While the keys cannot be used nothing is recorded in the pool. About 0.25 CPU-seconds a GB.")
		p.bindTiers(s)
		p.bindGroom(s)
	})
}

// Complete takes over the sections that were read and adds what is there when
// none is configured: space main at dataDir/media, pool default with all spaces.
func (c *Config) Complete(dataDir string) {
	c.Spaces, c.Pools = nil, nil
	for _, s := range c.spaces {
		c.Spaces = append(c.Spaces, *s)
	}
	for _, p := range c.pools {
		c.Pools = append(c.Pools, *p)
	}
	if len(c.Spaces) == 0 {
		sp := defaultSpace(DefaultSpace)
		sp.Path = filepath.Join(dataDir, "media")
		c.Spaces = []SpaceConfig{sp}
	}
	if len(c.Pools) == 0 {
		c.Pools = []PoolConfig{defaultPool(DefaultPool)}
	}
	if len(c.Pools) == 1 && len(c.Pools[0].Spaces) == 0 {
		for _, s := range c.Spaces {
			if s.Name != c.Pools[0].Stage {
				c.Pools[0].Spaces = append(c.Pools[0].Spaces, s.Name)
			}
		}
	}
}

// Pool returns the named pool.
func (c *Config) Pool(name string) (PoolConfig, bool) {
	i := slices.IndexFunc(c.Pools, func(p PoolConfig) bool { return p.Name == name })
	if i < 0 {
		return PoolConfig{}, false
	}
	return c.Pools[i], true
}
