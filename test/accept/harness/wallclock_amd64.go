package harness

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SetClock sets the wall clock that every process of this server sees to by
// ahead of the machine's (behind, if negative; whole seconds), at one instant
// for all of them, as a clock that is set does. The machine's own clock, those
// of other processes, and CLOCK_BOOTTIME and CLOCK_MONOTONIC stay. Processes
// that begin later have the machine's clock.
//
// Go programs read the wall clock from the page of code that the kernel maps into
// each process (vdso(7)), which no library can come before. That page is private
// once it is written to: clock_gettime in it is led through the system call, to
// whose answer by is added. Needs the rights of a debugger (ptrace(2)).
func (s *Server) SetClock(by time.Duration) {
	s.T.Helper()
	pids := []int{s.PID()}
	for _, p := range s.Processes() {
		pids = append(pids, p.PID)
	}
	if pid := s.Holder(); pid != 0 {
		pids = append(pids, pid)
	}
	var errs []error
	for _, pid := range pids {
		errs = append(errs, stop(pid))
	}
	for _, pid := range pids {
		err := setClock(pid, by)
		for range 100 {
			if !errors.Is(err, errThere) {
				break
			}
			err = errors.Join(syscall.Kill(pid, syscall.SIGCONT), stop(pid))
			if err == nil {
				err = setClock(pid, by)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("process %d: %w", pid, err))
		}
	}
	for _, pid := range pids {
		errs = append(errs, syscall.Kill(pid, syscall.SIGCONT))
	}
	if err := errors.Join(errs...); err != nil {
		s.T.Fatalf("the clock could not be set: %v", err)
	}
}

// stop stops a process and waits until all of its threads stand.
func stop(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	for end := time.Now().Add(Patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		stand := true
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, f := range tasks {
			b, err := os.ReadFile(f)
			if err != nil {
				continue // a thread that has ended
			}
			_, after, _ := strings.Cut(string(b), ") ")
			stand = stand && strings.HasPrefix(after, "T")
		}
		if stand && len(tasks) > 0 {
			return nil
		}
	}
	return fmt.Errorf("process %d does not stop", pid)
}

// detour is what clock_gettime becomes:
//
//	    mov  eax, 228 ; clock_gettime(clock in edi, timespec at rsi)
//	    syscall
//	    test eax, eax
//	    jnz  end
//	    test edi, edi ; 0 = CLOCK_REALTIME
//	    jnz  end
//	    mov  rcx, [rip + 4] ; the 8 bytes behind the code
//	    add  [rsi], rcx
//	end: ret
var detour = []byte{
	0xb8, 228, 0, 0, 0,
	0x0f, 0x05,
	0x85, 0xc0, 0x75, 0x0e,
	0x85, 0xff, 0x75, 0x0a,
	0x48, 0x8b, 0x0d, 0x04, 0, 0, 0,
	0x48, 0x01, 0x0e,
	0xc3,
}

const jump = 5 // length of the jump to it

// errThere: it may have gone on when it is looked at again.
var errThere = errors.New("a thread stands where the code is to be changed")

// setClock does it for one process, which must be stopped.
func setClock(pid int, by time.Duration) error {
	from, to, err := vdso(pid)
	if err != nil {
		return err
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	image := make([]byte, to-from)
	if _, err := mem.ReadAt(image, from); err != nil {
		return err
	}
	entry, err := clockGettime(io.NewSectionReader(mem, from, to-from))
	if err != nil {
		return err
	}
	// Behind the image the last page is empty. What is added lies at its end, where
	// it can be written at once.
	value := len(image) - 8
	code := value - len(detour)
	there := string(image[code:value]) == string(detour)
	if !there && strings.Trim(string(image[code:]), "\x00") != "" {
		return errors.New("there is no room behind the code that the kernel maps")
	}
	word := binary.LittleEndian.AppendUint64(nil, uint64(int64(by/time.Second)))
	if there {
		_, err := mem.WriteAt(word, from+int64(value))
		return err
	}
	if at, err := within(pid, from+entry, from+entry+jump); err != nil || at {
		return errors.Join(err, errThere)
	}
	if _, err := mem.WriteAt(append(append([]byte{}, detour...), word...), from+int64(code)); err != nil {
		return err
	}
	leap := binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(int32(int64(code)-entry-jump)))
	_, err = mem.WriteAt(leap, from+entry)
	return err
}

// vdso is where the page of code lies in a process.
func vdso(pid int) (from, to int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for l := range strings.Lines(string(b)) {
		if !strings.HasSuffix(l, "[vdso]\n") {
			continue
		}
		if _, err := fmt.Sscanf(l, "%x-%x", &from, &to); err != nil {
			return 0, 0, err
		}
		return from, to, nil
	}
	return 0, 0, errors.New("the kernel maps no code into it")
}

// clockGettime is where the function begins in the image.
func clockGettime(image io.ReaderAt) (int64, error) {
	f, err := elf.NewFile(image)
	if err != nil {
		return 0, err
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	for _, y := range symbols {
		if y.Name == "__vdso_clock_gettime" {
			return int64(y.Value), nil
		}
	}
	return 0, errors.New("the code that the kernel maps has no clock_gettime")
}

// within tells whether a thread of a stopped process has begun, and not ended,
// the instructions at [from, to).
func within(pid int, from, to int64) (bool, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	if err != nil {
		return false, err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return false, err
		}
		w := strings.Fields(string(b)) // ends with stack and program pointer
		if len(w) < 2 {
			return false, fmt.Errorf("%s says %q", f, b)
		}
		pc, err := strconv.ParseUint(w[len(w)-1], 0, 64)
		if err != nil {
			return false, err
		}
		if int64(pc) > from && int64(pc) < to {
			return true, nil
		}
	}
	return false, nil
}
