// Package natstest starts NATS servers for tests, each in a process of its own,
// so that one can be killed: alone, or three as a cluster. A test's TestMain
// calls [Main] first, because a node is the test's own program once more. A node
// ends with the process that started it.
package natstest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const nodeVariable = "STREAM_TEST_NODE"

// startTimeout bounds how long a node may take to listen.
const startTimeout = 20 * time.Second

// Main is the process of a node, if this is one; it then does not return.
func Main() {
	config := os.Getenv(nodeVariable)
	if config == "" {
		return
	}
	if err := run(config); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A Node is a NATS server in a process of its own, so that it can be killed.
type Node struct {
	Name   string
	Dir    string
	Client int      // port
	Peer   int      // port of the cluster; 0 means alone
	Peers  []string // route URLs of all

	cmd   *exec.Cmd
	stdin io.Closer
}

// run is the process of a node. It ends when its starter does.
func run(config string) error {
	var n Node
	if err := json.Unmarshal([]byte(config), &n); err != nil {
		return err
	}
	o := &server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Client, JetStream: true, StoreDir: n.Dir, SyncAlways: true, JetStreamMaxStore: 1 << 40,
		MaxPayload: 4 << 20, NoSigs: true, DisableJetStreamBanner: true,
	}
	if n.Peer != 0 {
		o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: n.Peer}
		for _, p := range n.Peers {
			u, err := url.Parse(p)
			if err != nil {
				return err
			}
			o.Routes = append(o.Routes, u)
		}
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(startTimeout) {
		return errors.New("the node did not start")
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	return err
}

// URL is where clients connect.
func (n *Node) URL() string { return fmt.Sprintf("nats://127.0.0.1:%d", n.Client) }

// Start starts the node, again after [Node.Kill], and waits until it listens.
func (n *Node) Start(t testing.TB) {
	t.Helper()
	config, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	n.cmd = exec.Command(os.Args[0])
	n.cmd.Env = append(os.Environ(), nodeVariable+"="+string(config))
	n.cmd.Stderr = os.Stderr
	if n.stdin, err = n.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) != "ready" {
		t.Fatalf("node %s said %q, %v", n.Name, line, err)
	}
}

// Runs reports whether the node was started and not killed.
func (n *Node) Runs() bool { return n.cmd != nil }

// Kill is kill -9.
func (n *Node) Kill() {
	if n.cmd != nil {
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait()
		n.cmd = nil
	}
}

// FreePorts returns ports that nobody uses now.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// Alone starts one node alone.
func Alone(t testing.TB) *Node {
	t.Helper()
	n := &Node{Name: "alone", Dir: t.TempDir(), Client: FreePorts(t, 1)[0]}
	n.Start(t)
	t.Cleanup(n.Kill)
	return n
}

// Cluster starts three nodes that know each other.
func Cluster(t testing.TB) []*Node {
	t.Helper()
	ports := FreePorts(t, 6)
	var nodes []*Node
	var peers []string
	for i := range 3 {
		peers = append(peers, fmt.Sprintf("nats://127.0.0.1:%d", ports[3+i]))
	}
	for i := range 3 {
		n := &Node{Name: fmt.Sprint("n", i+1), Dir: t.TempDir(), Client: ports[i], Peer: ports[3+i], Peers: peers}
		t.Cleanup(n.Kill)
		n.Start(t)
		nodes = append(nodes, n)
	}
	return nodes
}

// URLs are where clients connect to nodes.
func URLs(nodes ...*Node) []string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.URL())
	}
	return all
}
