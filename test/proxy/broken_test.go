package proxy_test

import (
	"bufio"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// misbehaviours are what a broken Muster does with a connection, once it has
// read the question. What they answer is not for the caller to have.
var misbehaviours = map[string]func(conn net.Conn, ended <-chan struct{}){
	"reset": func(conn net.Conn, _ <-chan struct{}) {
		_ = conn.(*net.TCPConn).SetLinger(0) // and the close is a reset
	},
	"close":   func(net.Conn, <-chan struct{}) {},
	"hang":    func(_ net.Conn, ended <-chan struct{}) { <-ended },
	"garbage": say("\x16\x03\x01\x00\x05hello\r\n\r\n"),
	"cut":     say("HTTP/1.1 200 OK\r\nMuster-Identity: nhi_x\r\nMuster-Dec"),
	"drip": func(conn net.Conn, ended <-chan struct{}) {
		say("HTTP/1.1 200 OK\r\nMuster-Identity: nhi_x\r\n")(conn, ended)
		<-ended
	},
	"no-status": say("HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"),
	"100":       say("HTTP/1.1 100 Continue\r\n\r\n"),
	"302":       say("HTTP/1.1 302 Found\r\nLocation: /payments/17\r\nContent-Length: 0\r\n\r\n"),
	"400":       say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
	"429":       say("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"),
	"500":       say("HTTP/1.1 500 Internal Server Error\r\nMuster-Identity: nhi_x\r\nContent-Length: 0\r\n\r\n"),
	"502":       say("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
	"503":       say("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
}

// impostors say yes and are not Muster: they name no caller. nginx cannot tell.
var impostors = map[string]func(net.Conn, <-chan struct{}){
	"unnamed":     say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
	"misnamed":    say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nMuster-Identity : nhi_x\r\n\r\n"),
	"empty-named": say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nMuster-Identity:\r\n\r\n"),
	"204":         say("HTTP/1.1 204 No Content\r\n\r\n"),
}

func say(text string) func(net.Conn, <-chan struct{}) {
	return func(conn net.Conn, _ <-chan struct{}) { _, _ = conn.Write([]byte(text)) }
}

// broken listens like Muster and misbehaves as the last part of the asked path
// says. It ends with the test.
func broken(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return // a look whether somebody listens
				}
				target := r.Header.Get("X-Original-Uri") + r.Header.Get("X-Forwarded-Uri")
				name := target[strings.LastIndexByte(target, '/')+1:]
				behave := misbehaviours[name]
				if behave == nil {
					behave = impostors[name]
				}
				if behave == nil {
					t.Errorf("asked about %q", target)
					return
				}
				behave(conn, ended)
			})
		}
	})
	t.Cleanup(func() {
		close(ended)
		_ = l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

// TestABrokenMusterLetsNothingPass asks each proxy for everything at once,
// because some wait for seconds before they give up.
func TestABrokenMusterLetsNothingPass(t *testing.T) {
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t)
			s := p.put(t, site{muster: broken(t), app: a.address, key: "muster_pnt_x"})
			names := slices.Collect(maps.Keys(misbehaviours))
			if p.name != "nginx" {
				names = slices.AppendSeq(names, maps.Keys(impostors))
			}
			var asking sync.WaitGroup
			for _, name := range names {
				asking.Go(func() {
					got := send(t, s.address, request("GET /payments/"+name, "Authorization: Bearer good", "Muster-Identity: admin"))
					if got.status == 0 || got.status/100 == 2 {
						t.Errorf("%s: the client gets %d", name, got.status)
					}
				})
			}
			asking.Wait()
			for _, r := range a.take() {
				t.Errorf("%s reached the application", r.RequestURI)
			}
		})
	}
}

// TestWithoutMusterNothingPasses has nobody listen at all.
func TestWithoutMusterNothingPasses(t *testing.T) {
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t)
			s := p.put(t, site{muster: free(t), app: a.address, key: "muster_pnt_x"})
			got := send(t, s.address, request("GET /payments/17", "Authorization: Bearer good"))
			if seen := a.take(); got.status < 400 || len(seen) != 0 {
				t.Errorf("the client gets %d, %d requests reached the application", got.status, len(seen))
			}
		})
	}
}
