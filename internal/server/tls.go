package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/certs"
	"github.com/muster-id/muster/internal/health"
)

// certificate opens what gives the main listener its certificate, if it is to
// have one.
func (s *Server) certificate(ctx context.Context) error {
	set := s.settings.Config.TLS
	if !set.On() {
		return nil
	}
	var err error
	if set.Cert != "" {
		s.certs, err = s.certificateFiles()
	} else {
		err = s.authority(ctx)
	}
	if err != nil {
		return err
	}
	s.health.Add(health.Check{Name: "tls", State: func(context.Context) health.State { return s.certs.State(time.Now()) }})
	return nil
}

func (s *Server) certificateFiles() (certs.Source, error) {
	host := ""
	if u, err := url.Parse(s.settings.Config.PublicURL); err == nil {
		host = u.Hostname()
	}
	set := s.settings.Config.TLS
	return certs.OpenFiles(certs.FileSettings{Cert: set.Cert, Key: set.Key, Host: host})
}

// authority prepares an ACME client, and the listener for challenges over HTTP
// if one is wanted. It answers challenges and redirections, nothing else.
func (s *Server) authority(ctx context.Context) error {
	set := s.settings.Config.TLS.ACME
	a, err := certs.NewACME(set, filepath.Join(s.settings.Data, "acme"), s.keys)
	if err != nil {
		return err
	}
	s.certs = a
	if set.HTTPListen == "" {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", set.HTTPListen)
	if err != nil {
		return fmt.Errorf("listen on %s for challenges: %w", set.HTTPListen, err)
	}
	s.challenges = l
	s.onClose(func() error { return ignoreClosed(l.Close()) })
	a.Challenges() // from now on the authority is offered HTTP
	return nil
}

// renew keeps the certificate fresh, and answers challenges over HTTP, until
// ctx ends.
func (s *Server) renew(ctx context.Context) error {
	if s.certs == nil {
		return nil
	}
	if s.challenges == nil {
		return s.certs.Run(ctx)
	}
	srv := &http.Server{
		Handler: s.certs.(*certs.ACME).Challenges(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10,
	}
	var serving sync.WaitGroup
	var failed error
	serving.Go(func() { failed = srv.Serve(s.challenges) })
	err := s.certs.Run(ctx)
	_ = srv.Close()
	serving.Wait()
	if errors.Is(failed, http.ErrServerClosed) {
		failed = nil
	}
	return errors.Join(err, failed)
}

// ReloadCertificate reads the certificate again, as on SIGHUP. On error the one
// of before stays in use. Without TLS it does nothing.
func (s *Server) ReloadCertificate() error {
	if s.certs == nil {
		return nil
	}
	return s.certs.Reload()
}

// certificateExpires is a Unix time for the metrics, 0 without a certificate.
func (s *Server) certificateExpires() float64 {
	if s.certs == nil || s.certs.Expires().IsZero() {
		return 0
	}
	return float64(s.certs.Expires().Unix())
}

// reloadFailures counts certificates that were found unusable.
func (s *Server) reloadFailures() float64 {
	if f, ok := s.certs.(*certs.Files); ok {
		return float64(f.Failures())
	}
	return 0
}

func (s *Server) serve(main *http.Server) error {
	if s.certs == nil {
		return main.Serve(s.listener)
	}
	main.TLSConfig = certs.Config(s.certs)
	return main.ServeTLS(s.listener, "", "")
}
