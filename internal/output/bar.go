package output

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A Bar shows how far long work is. It is for one goroutine.
type Bar struct {
	W     io.Writer
	On    bool  // draw at all: only a terminal can take a line back
	Total int64 // 0 when nobody knows; then only the words are shown
	Done  int64

	drawn time.Time
}

// To moves the bar; words say what the number means.
func (b *Bar) To(done int64, words string) {
	b.Done = done
	if !b.On || time.Since(b.drawn) < 100*time.Millisecond {
		return
	}
	b.drawn = time.Now()
	if b.Total <= 0 {
		fmt.Fprintf(b.W, "\r\x1b[K%s", words)
		return
	}
	const width = 30
	part := min(max(done, 0), b.Total)
	full := int(part * width / b.Total)
	fmt.Fprintf(b.W, "\r\x1b[K[%s%s] %3d %%  %s", strings.Repeat("=", full), strings.Repeat(" ", width-full), part*100/b.Total, words)
}

// End takes the bar away, until it is moved again.
func (b *Bar) End() {
	if b.On && !b.drawn.IsZero() {
		fmt.Fprint(b.W, "\r\x1b[K")
		b.drawn = time.Time{}
	}
}

// Reader moves the bar by what is read of r.
func (b *Bar) Reader(r io.Reader) io.Reader { return &counted{r, b} }

type counted struct {
	io.Reader
	bar *Bar
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.bar.To(c.bar.Done+int64(n), Size(c.bar.Done+int64(n)))
	return n, err
}
