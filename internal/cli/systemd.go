package cli

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A manager is the service manager that started this process, if it wants to be
// told how the service is (sd_notify(3)). The zero manager is nobody.
type manager struct {
	socket string        // where to tell
	every  time.Duration // how often it wants a sign of life; 0: never
}

// managerOf reads what the manager left in the environment.
func managerOf(getenv func(string) string) manager {
	m := manager{socket: getenv("NOTIFY_SOCKET")}
	if usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && usec > 0 {
		m.every = time.Duration(usec) * time.Microsecond / 3
	}
	return m
}

// tell sends a state, as in "READY=1". What cannot be told is not: the service
// goes on, and the manager acts on its silence.
func (m manager) tell(state string) {
	if m.socket == "" {
		return
	}
	name := m.socket
	if rest, abstract := strings.CutPrefix(name, "@"); abstract {
		name = "\x00" + rest
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(state))
}

// watch gives a sign of life as long as the process answers at url, until ctx
// ends.
func (m manager) watch(ctx context.Context, url string) {
	if m.socket == "" || m.every == 0 {
		return
	}
	alive := &http.Client{Timeout: m.every}
	tick := time.NewTicker(m.every)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return
		}
		if res, err := alive.Do(req); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				m.tell("WATCHDOG=1")
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
