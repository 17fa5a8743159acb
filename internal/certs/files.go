package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/health"
)

const (
	maxFile = 1 << 20
	// look is how often the files are looked at. Reading their names costs
	// nothing, and a mount of a cluster's secrets changes without a signal.
	look = 10 * time.Second
)

// FileSettings name the files, in PEM: the certificate with the authorities
// between it and a root, and its private key.
type FileSettings struct {
	Cert, Key string
	Host      string // that the certificate should be for; empty if unknown
}

// Files is a certificate in two files. It implements Source.
type Files struct {
	set      FileSettings
	current  atomic.Pointer[pair]
	failures atomic.Int64

	mu  sync.Mutex // guards what follows; one reload at a time
	bad error      // why the files are not the current pair; nil if they are
}

// A pair is what was read, and what the files looked like then.
type pair struct {
	cert   tls.Certificate
	leaf   *x509.Certificate
	seen   [2]glimpse
	public bool // everybody may read the private key
}

// A glimpse is what tells two versions of a file apart without reading them.
type glimpse struct {
	modified time.Time
	size     int64
	inode    os.FileInfo
}

func (l glimpse) same(other glimpse) bool {
	return l.modified.Equal(other.modified) && l.size == other.size && l.inode != nil && other.inode != nil && os.SameFile(l.inode, other.inode)
}

// OpenFiles reads the pair. Files that are missing, or do not belong together,
// are an error; a certificate that expired is not, see the package.
func OpenFiles(s FileSettings) (*Files, error) {
	f := &Files{set: s}
	p, err := f.read()
	if err != nil {
		return nil, err
	}
	f.current.Store(p)
	return f, nil
}

func (f *Files) read() (*pair, error) {
	p := &pair{}
	texts := make([][]byte, 2)
	for i, path := range []string{f.set.Cert, f.set.Key} {
		text, info, err := readFile(path)
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		texts[i], p.seen[i] = text, glimpse{info.ModTime(), info.Size(), info}
		p.public = i == 1 && info.Mode().Perm()&0o007 != 0
	}
	defer clear(texts[1])
	var err error
	if p.cert, err = tls.X509KeyPair(texts[0], texts[1]); err != nil {
		return nil, fmt.Errorf("tls: %s and %s are not a certificate and its private key: %w", f.set.Cert, f.set.Key, err)
	}
	p.leaf = p.cert.Leaf
	return p, nil
}

func readFile(path string) ([]byte, os.FileInfo, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s has over %d bytes", path, maxFile)
	}
	return text, info, err
}

// Certificate implements Source.
func (f *Files) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return &f.current.Load().cert, nil
}

// Protocols implements Source.
func (*Files) Protocols() []string { return nil }

// Reload implements Source.
func (f *Files) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	next, err := f.read()
	if now := time.Now(); err == nil && now.After(next.leaf.NotAfter) && now.Before(f.current.Load().leaf.NotAfter) {
		err = fmt.Errorf("tls: the certificate in %s expired on %s", f.set.Cert, next.leaf.NotAfter.UTC().Format(stamp))
	}
	if f.bad = err; err != nil {
		f.failures.Add(1)
		return fmt.Errorf("%w: the certificate of before stays in use", err)
	}
	f.current.Store(next)
	return nil
}

// Failures counts reloads that kept the old pair.
func (f *Files) Failures() int64 { return f.failures.Load() }

// Run implements Source.
func (f *Files) Run(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	var tried [2]glimpse // the files that were found bad, not to be told of again and again
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, ok := f.looks()
		if current := f.current.Load().seen; ok && same(now, current) && f.good() || same(now, tried) {
			continue
		}
		tried = now
		if err := f.Reload(); err != nil {
			slog.Error("the certificate could not be renewed", "error", err)
			continue
		}
		slog.Info("the certificate was read again", "expires", f.Expires().UTC())
	}
}

func (f *Files) good() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bad == nil
}

func same(a, b [2]glimpse) bool { return a[0].same(b[0]) && a[1].same(b[1]) }

func (f *Files) looks() (l [2]glimpse, ok bool) {
	for i, path := range []string{f.set.Cert, f.set.Key} {
		info, err := os.Stat(path)
		if err != nil {
			return l, false
		}
		l[i] = glimpse{info.ModTime(), info.Size(), info}
	}
	return l, true
}

// Expires implements Source.
func (f *Files) Expires() time.Time { return f.current.Load().leaf.NotAfter }

// State implements Source.
func (f *Files) State(now time.Time) health.State {
	f.mu.Lock()
	bad := f.bad
	f.mu.Unlock()
	current := f.current.Load()
	cure := "put the new certificate into " + f.set.Cert + " and its key into " + f.set.Key + "; no restart is needed"
	s := judge(current.leaf, f.set.Host, now, cure)
	if bad != nil && s.Level < health.LevelFailed {
		var why = bad.Error()
		if errors.Is(bad, os.ErrNotExist) {
			why = "the files are gone: " + why
		}
		return health.Degraded(fmt.Sprintf("%s: the certificate of before stays in use until %s", why, current.leaf.NotAfter.UTC().Format(stamp)), cure)
	}
	if s.Level == health.LevelOK && current.public {
		return health.Degraded("everybody on this machine may read the private key in "+f.set.Key, "chmod 600 it, and think about who read it")
	}
	return s
}
