package node

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// processMetrics writes what the core process itself takes.
func processMetrics(m *metricWriter) {
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &ru) == nil {
		m.counter("process_cpu_seconds_total", "CPU time of the core's process.", seconds(ru.Utime)+seconds(ru.Stime))
	}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 1 {
			pages, _ := strconv.ParseInt(f[1], 10, 64)
			m.gauge("process_resident_memory_bytes", "Memory of the core's process.", float64(pages*int64(os.Getpagesize())))
		}
	}
	if d, err := os.ReadDir("/proc/self/fd"); err == nil {
		m.gauge("process_open_fds", "Open descriptors of the core's process.", float64(len(d)))
	}
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	m.gauge("go_goroutines", "Goroutines.", float64(runtime.NumGoroutine()))
	m.gauge("go_memstats_heap_inuse_bytes", "Bytes of the heap in use.", float64(ms.HeapInuse))
	m.counter("go_gc_cycles_total", "Garbage collections.", float64(ms.NumGC))
	m.counter("go_memstats_alloc_bytes_total", "Bytes allocated, freed ones too.", float64(ms.TotalAlloc))
	m.counter("go_memstats_mallocs_total", "Objects allocated, freed ones too.", float64(ms.Mallocs))
}

func seconds(t unix.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
