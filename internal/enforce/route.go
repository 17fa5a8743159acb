package enforce

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/muster-id/muster/internal/nhi"
)

// A Match is what a request means: which resource it touches, in which class
// of action, and the operation by its route's own words.
type Match struct {
	Resource    string
	Action      nhi.ActionClass
	Operation   string // GET /payments/{id}
	Sensitivity int    // of the route; 0 when it does not raise the resource's
	Purpose     string // that the route serves; empty: any
}

// ErrNoRoute means that no route covers a request: its host, its path, or its
// method on the most specific path.
var ErrNoRoute = errors.New("no route")

// A Table is a compiled set of routes. It never changes.
//
// For each host the paths form a tree of segments. A request walks it from
// left to right and prefers, at every segment, the literal text over {name}
// over {rest...}. That makes the most specific route win and the order of the
// file meaningless. Only then the method is looked up: a more specific path
// without the method denies, it does not fall back to a vaguer one.
type Table struct{ hosts map[string]*node }

// errHostDot is why a host with a dot at its end is refused: it is the same name
// to us, and another site, or none, to many applications.
var errHostDot = errors.New("host ends in a dot")

// A node is one position in the tree. Leaf and rest hold the methods of the
// routes that end here and that swallow everything from here on.
type node struct {
	literal map[string]*node
	folded  map[string]*node // literal by what is left when capitals do not count
	any     *node
	leaf    methods
	rest    methods

	capitals bool // of a host: there are some in its literals
}

type methods map[string]Match

// Compile checks routes and makes them a Table. The error wraps
// nhi.ErrInvalid and names every bad route by its place, counted from 1.
// Two routes may share a path when they share no method.
func Compile(routes []nhi.Route) (*Table, error) {
	t := &Table{hosts: make(map[string]*node)}
	var errs []error
	for i := range routes {
		if err := t.add(&routes[i]); err != nil {
			errs = append(errs, fmt.Errorf("route %d (%s%s): %w", i+1, routes[i].Host, routes[i].Path, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Table) add(route *nhi.Route) error {
	host := cleanHost(route.Host)
	switch {
	case host == "":
		return nhi.Invalidf("host is missing or is not a plain name")
	case route.Resource == "":
		return nhi.Invalidf("resource is missing")
	case len(route.Methods) == 0:
		return nhi.Invalidf("methods are missing")
	case route.Sensitivity != nil && (*route.Sensitivity < 0 || *route.Sensitivity > nhi.MaxSensitivity):
		return nhi.Invalidf("sensitivity %d is not between 0 and %d", *route.Sensitivity, nhi.MaxSensitivity)
	case !nhi.ValidPurpose(route.Purpose):
		return nhi.Invalidf("purpose %.40q is not a word of a-z, 0-9, '-', '.' and '/', at most %d long", route.Purpose, nhi.MaxPurpose)
	}
	segments, err := pattern(route.Path)
	if err != nil {
		return err
	}
	root := t.hosts[host]
	if root == nil {
		root = &node{}
		t.hosts[host] = root
	}
	root.capitals = root.capitals || fold(route.Path) != route.Path
	return root.end(segments).put(route)
}

// pattern splits a path into segments and checks them. Literal segments obey
// the rules for paths of requests, so that none can be out of reach.
func pattern(path string) ([]string, error) {
	if clean, err := cleanPath(path); err != nil || clean != path {
		return nil, nhi.Invalidf("path must be absolute, decoded and free of ambiguity")
	}
	segments := strings.Split(path[1:], "/")
	for i, segment := range segments {
		if !strings.ContainsAny(segment, "{}*") {
			continue
		}
		name, ok := variable(segment)
		if !ok {
			return nil, nhi.Invalidf("segment %q is neither plain text nor {name} nor {name...}", segment)
		}
		if strings.HasSuffix(name, "...") && i < len(segments)-1 {
			return nil, nhi.Invalidf("segment %q must be the last", segment)
		}
	}
	return segments, nil
}

// variable returns the name in "{name}" or "{name...}".
func variable(segment string) (name string, ok bool) {
	if len(segment) < 3 || segment[0] != '{' || segment[len(segment)-1] != '}' {
		return "", false
	}
	name = segment[1 : len(segment)-1]
	plain := strings.TrimSuffix(name, "...")
	return name, plain != "" && !strings.ContainsAny(plain, "{}*.")
}

// An ending is where the methods of a route are kept.
type ending struct{ methods *methods }

// end walks to where a pattern ends and makes what is missing on the way.
func (n *node) end(segments []string) ending {
	for _, segment := range segments {
		name, isVariable := variable(segment)
		switch {
		case isVariable && strings.HasSuffix(name, "..."):
			return ending{&n.rest}
		case isVariable:
			if n.any == nil {
				n.any = &node{}
			}
			n = n.any
		default:
			if n.literal == nil {
				n.literal, n.folded = make(map[string]*node), make(map[string]*node)
			}
			if n.literal[segment] == nil {
				n.literal[segment] = &node{}
				n.folded[fold(segment)] = n.literal[segment]
			}
			n = n.literal[segment]
		}
	}
	return ending{&n.leaf}
}

func (e ending) put(route *nhi.Route) error {
	if *e.methods == nil {
		*e.methods = make(methods)
	}
	for method, class := range route.Methods {
		if !isMethod(method) {
			return nhi.Invalidf("method %q is not an upper-case word", method)
		}
		if !class.Valid() {
			return nhi.Invalidf("method %s: %q is not a class of action", method, string(class))
		}
		if other, taken := (*e.methods)[method]; taken {
			return nhi.Invalidf("%s is already routed to %s", other.Operation, other.Resource)
		}
		match := Match{Resource: route.Resource, Action: class, Operation: method + " " + route.Path, Purpose: route.Purpose}
		if route.Sensitivity != nil {
			match.Sensitivity = *route.Sensitivity
		}
		(*e.methods)[method] = match
	}
	return nil
}

func isMethod(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return true
}

// Match translates a request. Host may have a port and any case, and no dot at
// its end; target is the path as the client sent it, still encoded, its query
// ignored. A slash at the end that no route has leads around none: many programs
// pass over it, so where the path without it has a route of its own, it is
// ambiguous. So is a path that would have another route if capitals did not
// count: to many applications they do not. The error is ErrNoRoute, or says what
// makes the path ambiguous; it holds no part of the request. HEAD is GET unless
// the route gives it.
func (t *Table) Match(method, host, target string) (Match, error) {
	path, err := cleanPath(target)
	if err != nil {
		return Match{}, err
	}
	root := t.hosts[cleanHost(host)]
	if root == nil {
		return Match{}, ErrNoRoute
	}
	if name, _, _ := strings.Cut(host, ":"); strings.HasSuffix(name, ".") {
		return Match{}, errHostDot
	}
	found, exact := root.find(path[1:])
	if without, slash := strings.CutSuffix(path[1:], "/"); slash && !exact {
		if _, twin := root.find(without); twin {
			return Match{}, errPathAmbiguous
		}
	}
	match, ok := found.by(method)
	if !ok {
		return Match{}, ErrNoRoute
	}
	if root.capitals || fold(path) != path {
		if other, ok := root.findFolded(path[1:]).by(method); !ok || other != match {
			return Match{}, errPathAmbiguous
		}
	}
	return match, nil
}

// by returns what a method means; HEAD is GET unless it is given.
func (m methods) by(method string) (Match, bool) {
	match, ok := m[method]
	if !ok && method == "HEAD" {
		match, ok = m["GET"]
	}
	return match, ok
}

// find returns the methods of the most specific route for the remaining path,
// and whether that route ends where the path does.
// A tree has each node once, so a request visits each at most once.
func (n *node) find(path string) (_ methods, exact bool) {
	segment, remaining, more := strings.Cut(path, "/")
	for _, next := range [2]*node{n.literal[segment], n.any} {
		if next == nil || segment == "" && next == n.any {
			continue
		}
		if more {
			if found, exact := next.find(remaining); found != nil {
				return found, exact
			}
		} else if next.leaf != nil {
			return next.leaf, true
		}
	}
	return n.rest, false
}

// findFolded is find as an application has it to which capitals do not count. Of
// two routes that differ in capitals alone the one that is written so is meant.
func (n *node) findFolded(path string) methods {
	segment, remaining, more := strings.Cut(path, "/")
	literal := n.literal[segment]
	if literal == nil && len(n.folded) > 0 {
		literal = n.folded[fold(segment)]
	}
	for _, next := range [2]*node{literal, n.any} {
		if next == nil || segment == "" && next == n.any {
			continue
		}
		if more {
			if found := next.findFolded(remaining); found != nil {
				return found
			}
		} else if next.leaf != nil {
			return next.leaf
		}
	}
	return n.rest
}

// fold is what is left of a segment when capitals do not count, by either way of
// forgetting them: of some letters only one leads to the plain one.
func fold(segment string) string {
	for i := range len(segment) {
		if c := segment[i]; c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf {
			return strings.ToLower(strings.ToUpper(segment))
		}
	}
	return segment
}

// A RouteSource holds the current routes and the number of the change that
// made them so. It reads memory only, and both always belong together.
type RouteSource interface {
	Routes() (routes []nhi.Route, version nhi.Generation)
}

// Routes keeps the compiled form of what a RouteSource holds.
type Routes struct {
	source   RouteSource
	compiled atomic.Pointer[versioned]
	compile  sync.Mutex // held while one caller compiles a new version
}

type versioned struct {
	version nhi.Generation
	table   *Table
	err     error // why this version did not compile; table is then the last good one
}

// NewRoutes returns Routes that follow source.
func NewRoutes(source RouteSource) *Routes { return &Routes{source: source} }

// Match is Table.Match on the current routes. They are compiled again only
// when their version changes. Routes that do not compile never replace good
// ones; without good ones nothing matches.
func (r *Routes) Match(method, host, target string) (Match, error) {
	return r.current().table.Match(method, host, target)
}

// Err says why the current routes are not in use, nil when they are.
func (r *Routes) Err() error { return r.current().err }

func (r *Routes) current() *versioned {
	routes, version := r.source.Routes()
	if c := r.compiled.Load(); c != nil && c.version == version {
		return c
	}
	r.compile.Lock()
	defer r.compile.Unlock()
	last := r.compiled.Load()
	if last != nil && last.version >= version {
		return last // somebody else compiled it, or a newer one, while we waited
	}
	next := &versioned{version: version}
	if next.table, next.err = Compile(routes); next.err != nil {
		next.table = &Table{}
		if last != nil {
			next.table = last.table
		}
	}
	r.compiled.Store(next)
	return next
}
