package postgres

import (
	"crypto/rand"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/muster-id/muster/internal/nhi"
)

// errBadConn is what database/sql says of a connection that is gone.
var errBadConn = driver.ErrBadConn

// maxPassword bounds a password file.
const maxPassword = 4096

// Check returns an error wrapping nhi.ErrInvalid that says what is wrong with
// the address, without repeating what may be secret in it. It opens nothing.
func (s *Settings) Check() error {
	_, err := s.address()
	return err
}

// address reads the URL, and adds what is safe where it is silent.
func (s *Settings) address() (*url.URL, error) {
	const form = "want postgres://user@host:5432/database"
	u, err := url.Parse(s.URL)
	if err != nil { // its text repeats the URL
		return nil, nhi.Invalidf("store.url is no address: %s", form)
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, nhi.Invalidf("store.url: %s", form)
	}
	query := u.Query()
	if _, has := u.User.Password(); has || query.Has("password") || query.Has("sslpassword") {
		return nil, nhi.Invalidf("store.url holds a password, and it is printed and logged: put the password into a file of its own and name it in store.password_file")
	}
	if query.Has("passfile") || query.Has("servicefile") || query.Has("service") {
		return nil, nhi.Invalidf("store.url: passfile, service and servicefile are not used: name the password's file in store.password_file")
	}
	for name := range query {
		if strings.EqualFold(name, "options") {
			return nil, nhi.Invalidf("store.url: options is not used: give each setting as a parameter of its own")
		}
	}
	if u.Fragment != "" {
		return nil, nhi.Invalidf("store.url: %s, without #", form)
	}
	if query.Get("target_session_attrs") == "" {
		query.Set("target_session_attrs", "primary")
	}
	if here(u, query) {
		if query.Get("sslmode") == "" {
			query.Set("sslmode", "prefer")
		}
	} else if err := secure(query); err != nil {
		return nil, err
	}
	u.RawQuery = query.Encode()
	return u, nil
}

// here reports whether nobody but this machine carries the bytes.
func here(u *url.URL, query url.Values) bool {
	hosts := []string{u.Hostname()}
	if h := query.Get("host"); h != "" {
		hosts = strings.Split(h, ",")
	}
	for _, h := range hosts {
		ip := net.ParseIP(h)
		if h != "" && h != "localhost" && !strings.HasPrefix(h, "/") && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}

// secure insists that the server proves who it is.
func secure(query url.Values) error {
	switch mode := query.Get("sslmode"); mode {
	case "":
		query.Set("sslmode", "verify-full")
	case "verify-full", "verify-ca":
	default:
		return nhi.Invalidf("store.url: sslmode=%s lets anybody between here and the server pose as it: use sslmode=verify-full, with sslrootcert=FILE if the certificate is your own authority's", mode)
	}
	return nil
}

// config is what connections are opened with.
func (s *Settings) config() (*pgx.ConnConfig, error) {
	u, err := s.address()
	if err != nil {
		return nil, err
	}
	config, err := pgx.ParseConfig(u.String())
	if err != nil {
		return nil, nhi.Invalidf("store.url: %s", reason(err))
	}
	if inherited := os.Getenv("PGPASSWORD"); inherited != "" && config.Password == inherited {
		config.Password = "" // an environment is seen by too many
	}
	if s.PasswordFile != "" {
		if config.Password, err = password(s.PasswordFile); err != nil {
			return nil, err
		}
	}
	return config, nil
}

// reason is what is wrong, without the address.
func reason(err error) string {
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) {
		if inner := errors.Unwrap(parse); inner != nil {
			err = inner
		} else {
			return "a parameter has a value that is not allowed"
		}
	}
	return err.Error()
}

// password reads the first line of a file that only its owner may read.
func password(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("read the password of the database: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("read the password of the database: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", nhi.Invalidf("store.password_file %s can be read by others: run chmod 600 on it", file)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxPassword+1))
	if err != nil {
		return "", fmt.Errorf("read the password of the database: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" || len(b) > maxPassword {
		return "", nhi.Invalidf("store.password_file %s must hold the password on its first line, at most %d bytes", file, maxPassword)
	}
	return line, nil
}

// place names the database for messages.
func place(c *pgx.ConnConfig) string {
	at := c.Host
	if !strings.HasPrefix(at, "/") {
		at = net.JoinHostPort(c.Host, fmt.Sprint(c.Port))
	}
	return fmt.Sprintf("PostgreSQL database %s at %s", c.Database, at)
}

// instance names this server among the sessions of the database.
func instance() string {
	host, err := os.Hostname()
	if err != nil || len(host) > 20 {
		host = "host"
	}
	return fmt.Sprintf("muster %s %d %s", host, os.Getpid(), rand.Text()[:10])
}

// plain is an error of opening a connection in which no setting is repeated.
func plain(err error) error {
	var dial *pgconn.ConnectError
	if !errors.As(err, &dial) {
		return err
	}
	return &connectError{dial}
}

// A connectError says why a connection was not opened. What it wraps also
// names user and database, which place says better.
type connectError struct{ inner *pgconn.ConnectError }

func (e *connectError) Error() string {
	var answer *pgconn.PgError
	if errors.As(e.inner, &answer) {
		return fmt.Sprintf("%s (SQLSTATE %s)%s", answer.Message, answer.Code, advice[answer.Code])
	}
	text := e.inner.Unwrap().Error()
	return strings.ReplaceAll(text, "\n", "; ")
}

func (e *connectError) Unwrap() error { return e.inner }

// advice says what to do about what servers often answer.
var advice = map[string]string{
	"28P01": ": check the user in store.url and the password in store.password_file",
	"28000": ": check the user in store.url and pg_hba.conf on the server",
	"3D000": ": create it first: CREATE DATABASE ... ENCODING 'UTF8'",
	"53300": ": raise max_connections on the server or lower store.readers",
	"57P03": ": it will be tried again",
}
