package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A progress shows how far long work is, on a terminal only.
type progress struct {
	w     io.Writer
	on    bool
	total int64 // 0 when nobody knows
	done  int64
	last  time.Time
}

func (a *app) progress(total int64) *progress {
	return &progress{w: a.std.Err, on: terminal(a.std.Err), total: total}
}

// to moves the bar; words say what the number means.
func (p *progress) to(done int64, words string) {
	p.done = done
	if !p.on || time.Since(p.last) < 100*time.Millisecond {
		return
	}
	p.last = time.Now()
	if p.total <= 0 {
		fmt.Fprintf(p.w, "\r\x1b[K%s", words)
		return
	}
	const cells = 30
	full := int(min(done, p.total) * cells / p.total)
	fmt.Fprintf(p.w, "\r\x1b[K[%s%s] %3d %%  %s", strings.Repeat("=", full), strings.Repeat(" ", cells-full), min(done, p.total)*100/p.total, words)
}

// end takes the bar away.
func (p *progress) end() {
	if p.on && !p.last.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// reader moves the bar as r is read.
func (p *progress) reader(r io.Reader) io.Reader { return &counted{r, p} }

type counted struct {
	io.Reader
	p *progress
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.p.to(c.p.done+int64(n), size(c.p.done+int64(n)))
	return n, err
}
