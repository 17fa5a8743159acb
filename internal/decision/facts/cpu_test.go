package facts

import (
	"syscall"
	"testing"
	"time"
)

// cpuTime is the time this process has spent on a processor. On a shared
// machine it is the figure to trust; the wall clock measures the neighbours.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportCPU adds cpu-ns/op to a benchmark, garbage collection included.
func reportCPU(b *testing.B, start time.Duration) {
	b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/op")
}
