package proxy

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"

	"golang.org/x/net/netutil"
)

// A Certificate gives a listener its certificate, as for tls.Config.
type Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// Server returns an http.Server that serves h within the limits of its
// settings. ServerTLS says how it speaks TLS.
func Server(s Settings, h http.Handler, log *slog.Logger) *http.Server {
	s = s.WithDefaults()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(s.H2C)
	return &http.Server{
		Handler: h, ReadHeaderTimeout: s.Timeouts.Header, IdleTimeout: s.Timeouts.Idle, MaxHeaderBytes: s.Limits.HeaderBytes,
		Protocols: protocols, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: s.Limits.Streams},
		DisableGeneralOptionsHandler: true, // they are decided about as all others
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// Limit bounds how many clients are connected to l at once.
func Limit(l net.Listener, s Settings) net.Listener {
	return netutil.LimitListener(l, s.WithDefaults().Limits.Connections)
}

// ServerTLS returns how a proxy speaks TLS to its clients: TLS 1.3, or 1.2 with
// authenticated encryption and forward secrecy (RFC 9325, section 4.2). A
// client's certificate is verified against the authorities of the settings. It
// reads their file.
func ServerTLS(s Settings, certificate Certificate) (*tls.Config, error) {
	s = s.WithDefaults()
	if certificate == nil {
		return nil, errors.New("a proxy without a certificate")
	}
	c := &tls.Config{
		GetCertificate: certificate, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
	if s.TLS.ClientSVID {
		// The handshake proves that the client holds the key of what it shows. Whose
		// that is, the verifier finds out, again for every request.
		c.ClientAuth = tls.RequestClientCert
	}
	if s.TLS.ClientCA == "" {
		return c, nil
	}
	pool, err := authorities(s.TLS.ClientCA)
	if err != nil {
		return nil, err
	}
	c.ClientCAs, c.ClientAuth = pool, tls.RequireAndVerifyClientCert
	if s.TLS.ClientCert == Optional {
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return c, nil
}
