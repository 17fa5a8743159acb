package proxies

import (
	"net"
	"sync"
)

// shared is a listener that proxies use one after the other. Its views come
// and go; the address is given back when it is closed itself.
type shared struct {
	raw   net.Listener
	conns chan net.Conn
	begin sync.Once
	end   sync.Once
	done  chan struct{}
	err   error // why accepting ended; set before broken is closed
	broke chan struct{}
}

// share begins to accept at the first view.
func share(l net.Listener) *shared {
	return &shared{raw: l, conns: make(chan net.Conn), done: make(chan struct{}), broke: make(chan struct{})}
}

// accept hands connections to whichever view asks, until the listener is
// closed.
func (s *shared) accept() {
	defer close(s.broke)
	for {
		conn, err := s.raw.Accept()
		if err != nil {
			s.err = err
			return
		}
		select {
		case s.conns <- conn:
		case <-s.done:
			_ = conn.Close()
		}
	}
}

// Close gives the address back. It may be called more than once.
func (s *shared) Close() error {
	var err error
	s.end.Do(func() {
		close(s.done)
		err = s.raw.Close()
	})
	return err
}

// view returns a listener of its own lifetime on the same address.
func (s *shared) view() net.Listener {
	s.begin.Do(func() { go s.accept() })
	return &view{shared: s, closed: make(chan struct{})}
}

type view struct {
	shared *shared
	once   sync.Once
	closed chan struct{}
}

func (v *view) Accept() (net.Conn, error) {
	select {
	case <-v.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case conn := <-v.shared.conns:
		return conn, nil
	case <-v.closed:
		return nil, net.ErrClosed
	case <-v.shared.broke:
		return nil, v.shared.err
	}
}

func (v *view) Close() error {
	v.once.Do(func() { close(v.closed) })
	return nil
}

func (v *view) Addr() net.Addr { return v.shared.raw.Addr() }
