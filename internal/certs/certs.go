// Package certs gives the main listener its certificate: from two files that
// are looked at again while the server runs ([Files]), or from an authority that
// issues by itself ([ACME], RFC 8555).
//
//	source, err := certs.OpenFiles(certs.FileSettings{Cert: "cert.pem", Key: "key.pem", Host: "muster.example.com"})
//	listener = tls.NewListener(listener, certs.Config(source))
//	go source.Run(ctx)
//
// A pair of files that cannot be used never replaces one that can: the server
// goes on with the old one, and [Source.State] says so until it is repaired. A
// certificate that expired is still presented, because only the clients can
// decide to refuse it; the state then is failed, and says since when.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/muster-id/muster/internal/health"
)

// A Source has the certificate of the moment.
type Source interface {
	// Certificate is for tls.Config.GetCertificate. It may take minutes when an
	// authority has to issue first, and is memory only otherwise.
	Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Protocols are what the source itself speaks on the listener, beside HTTP.
	Protocols() []string
	// Reload looks again now, as on SIGHUP. An error means that the old
	// certificate stays.
	Reload() error
	// Run looks again from time to time until ctx ends.
	Run(ctx context.Context) error
	// State tells how good the certificate is; Expires when it ends, zero when
	// there is none.
	State(now time.Time) health.State
	Expires() time.Time
}

// Config is how the main listener speaks TLS: version 1.3, or 1.2 with
// authenticated encryption and forward secrecy (RFC 9325, section 4.2).
func Config(s Source) *tls.Config {
	return &tls.Config{
		GetCertificate: s.Certificate,
		MinVersion:     tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos: append([]string{"h2", "http/1.1"}, s.Protocols()...),
	}
}

const stamp = "2006-01-02 15:04 MST"

// judge tells how good a certificate is for a host at a time. What renews it is
// the cure.
func judge(leaf *x509.Certificate, host string, now time.Time, cure string) health.State {
	// Short-lived certificates are renewed late; nobody wants to hear of that
	// for all their life.
	soon := min(14*24*time.Hour, leaf.NotAfter.Sub(leaf.NotBefore)/5)
	switch {
	case now.After(leaf.NotAfter):
		return health.Failed("the certificate expired on "+leaf.NotAfter.UTC().Format(stamp), cure)
	case now.Before(leaf.NotBefore):
		return health.Failed("the certificate is valid only from "+leaf.NotBefore.UTC().Format(stamp), "check the clock of this machine, or "+cure)
	case host != "" && leaf.VerifyHostname(host) != nil:
		return health.Degraded(fmt.Sprintf("the certificate is not for %s, by which the world reaches the server", host), "correct public_url, or "+cure)
	case leaf.NotAfter.Sub(now) < soon:
		return health.Degraded("the certificate expires on "+leaf.NotAfter.UTC().Format(stamp), cure)
	}
	return health.OK()
}
