//go:build linux && (amd64 || arm64 || riscv64 || loong64 || ppc64le)

package pages

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/muster-id/muster/internal/checkpoint"
	"github.com/muster-id/muster/internal/surprise"
)

// mapPages maps pages of a file, which grows to hold them. Nothing that is
// written to them reaches the file. The room for them is taken at once: some file
// systems (tmpfs) need it when a page is first looked at, and where there is none
// then, that look is a fault and what was to be learned is lost.
func mapPages(file checkpoint.Open, from, count int) ([]surprise.Page, error) {
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	end := int64(from+count) * surprise.PageSize
	if size < end { // to look beyond the end of a file would be a fault
		if err := file.Truncate(end); err != nil {
			return nil, err
		}
		err := unix.Fallocate(int(file.Fd()), 0, size, end-size)
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
			return nil, fmt.Errorf("make room for pages: %w", err)
		}
	}
	memory, err := unix.Mmap(int(file.Fd()), int64(from)*surprise.PageSize, count*surprise.PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map pages: %w", err)
	}
	return unsafe.Slice((*surprise.Page)(unsafe.Pointer(&memory[0])), count), nil
}

// release gives the private copies of mapped pages back. The file must hold the
// same as they do; then nobody who reads them notices.
func release(pages []surprise.Page) {
	memory := unsafe.Slice((*byte)(unsafe.Pointer(&pages[0])), len(pages)*surprise.PageSize)
	// Where it fails the copies stay, which is as right.
	_ = unix.Madvise(memory, unix.MADV_DONTNEED)
}
