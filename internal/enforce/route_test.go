package enforce

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
)

func level(n int) *int { return &n }

var shop = []nhi.Route{
	{Host: "shop.example", Path: "/payments", Methods: map[string]nhi.ActionClass{"GET": nhi.List, "POST": nhi.Write}, Resource: "payments/api"},
	{Host: "shop.example", Path: "/payments/{id}", Methods: map[string]nhi.ActionClass{"GET": nhi.Read, "DELETE": nhi.Delete}, Resource: "payments/api"},
	{Host: "shop.example", Path: "/payments/export", Methods: map[string]nhi.ActionClass{"GET": nhi.Read, "HEAD": nhi.List}, Resource: "payments/export", Sensitivity: level(4)},
	{Host: "shop.example", Path: "/payments/{id}/lines/{line}", Methods: map[string]nhi.ActionClass{"GET": nhi.Read}, Resource: "payments/lines"},
	{Host: "shop.example", Path: "/{rest...}", Methods: map[string]nhi.ActionClass{"GET": nhi.Read}, Resource: "shop/web"},
	{Host: "shop.example", Path: "/payments/{id}/{rest...}", Methods: map[string]nhi.ActionClass{"GET": nhi.Read}, Resource: "payments/deep"},
	{Host: "shop.example", Path: "/payments/{id}", Methods: map[string]nhi.ActionClass{"PUT": nhi.Write}, Resource: "payments/writer"},
	{Host: "10.0.0.1", Path: "/", Methods: map[string]nhi.ActionClass{"GET": nhi.Read}, Resource: "root"},
}

func compiled(t testing.TB, routes []nhi.Route) *Table {
	t.Helper()
	table, err := Compile(routes)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestTheMostSpecificRouteWinsWhateverTheOrder(t *testing.T) {
	tests := []struct {
		method, host, target string
		want                 Match
	}{
		{"GET", "shop.example", "/payments", Match{"payments/api", nhi.List, "GET /payments", 0, ""}},
		{"GET", "shop.example", "/payments?x=/../y", Match{"payments/api", nhi.List, "GET /payments", 0, ""}},
		{"GET", "shop.example", "/payments/17", Match{"payments/api", nhi.Read, "GET /payments/{id}", 0, ""}},
		{"PUT", "shop.example", "/payments/17", Match{"payments/writer", nhi.Write, "PUT /payments/{id}", 0, ""}},
		{"GET", "shop.example", "/payments/export", Match{"payments/export", nhi.Read, "GET /payments/export", 4, ""}},
		{"GET", "shop.example", "/p%61yments/e%78port", Match{"payments/export", nhi.Read, "GET /payments/export", 4, ""}},
		{"HEAD", "shop.example", "/payments/export", Match{"payments/export", nhi.List, "HEAD /payments/export", 4, ""}},
		{"HEAD", "shop.example", "/payments/17", Match{"payments/api", nhi.Read, "GET /payments/{id}", 0, ""}},
		{"GET", "shop.example", "/payments/17/lines/2", Match{"payments/lines", nhi.Read, "GET /payments/{id}/lines/{line}", 0, ""}},
		{"GET", "shop.example", "/payments/17/lines", Match{"payments/deep", nhi.Read, "GET /payments/{id}/{rest...}", 0, ""}},
		{"GET", "shop.example", "/payments/export/x/y", Match{"payments/deep", nhi.Read, "GET /payments/{id}/{rest...}", 0, ""}},
		{"GET", "SHOP.example:8443", "/caf%C3%A9", Match{"shop/web", nhi.Read, "GET /{rest...}", 0, ""}},
		{"GET", "shop.example", "/", Match{"shop/web", nhi.Read, "GET /{rest...}", 0, ""}},
		{"GET", "10.0.0.1:80", "/", Match{"root", nhi.Read, "GET /", 0, ""}},
	}
	for range 20 {
		routes := append([]nhi.Route(nil), shop...)
		rand.Shuffle(len(routes), func(i, j int) { routes[i], routes[j] = routes[j], routes[i] })
		table := compiled(t, routes)
		for _, tt := range tests {
			got, err := table.Match(tt.method, tt.host, tt.target)
			if err != nil {
				t.Fatalf("%s %s%s: %v", tt.method, tt.host, tt.target, err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Fatalf("%s %s%s (-want +got):\n%s", tt.method, tt.host, tt.target, diff)
			}
		}
	}
}

func TestNoMatchDenies(t *testing.T) {
	table := compiled(t, shop)
	for _, tt := range []struct{ method, host, target string }{
		{"DELETE", "shop.example", "/payments/export"}, // more specific path has no DELETE, the vaguer is not asked
		{"POST", "shop.example", "/"},
		{"get", "shop.example", "/payments"},
		{"", "shop.example", "/payments"},
		{"PROPFIND", "shop.example", "/payments"},
		{"GET", "other.example", "/payments"},
		{"GET", "", "/payments"},
		{"GET", "shop.example.evil.example", "/payments"},
		{"GET", "shop.example..", "/payments"},
		{"GET", "shop.example:80:80", "/payments"},
		{"GET", "shop.example:x", "/payments"},
		{"GET", "evil@shop.example", "/payments"},
		{"GET", "shop.example,other.example", "/payments"},
		{"GET", "[shop.example", "/payments"},
		{"GET", "[shop.example]", "/payments"}, // to nginx another server than shop.example
		{"GET", "[shop.example]:443", "/payments"},
		{"GET", "[shop.example.]", "/payments"},
		{"GET", "10.0.0.1", "/x"},
	} {
		if match, err := table.Match(tt.method, tt.host, tt.target); !errors.Is(err, ErrNoRoute) {
			t.Errorf("%s %s%s = %v, %v, want ErrNoRoute", tt.method, tt.host, tt.target, match, err)
		}
	}
	if _, err := (&Table{}).Match("GET", "", "/"); !errors.Is(err, ErrNoRoute) {
		t.Errorf("the zero Table: %v", err)
	}
}

func TestPathTricksAreAmbiguousAndDeny(t *testing.T) {
	table := compiled(t, shop)
	for _, target := range []string{
		"", "payments", "*", "http://shop.example/payments", "//payments", "/payments//17", "/payments/17//",
		"/payments/../payments", "/payments/.", "/./payments", "/..", "/payments/%2e%2e/x", "/payments/%2E/x", "/a%2ejpg",
		"/payments%2f17", "/payments%2F17", `/payments\17`, "/payments%5c17", "/payments/17;jsessionid=1", "/payments/17%3bx",
		"/payments/export;/../17", "/payments#x", "/payments%23x", "/payments%3fx", "/payments/%00", "/payments/%0d%0aX:1", "/payments/\x7f",
		"/payments/\x01", "/payments/%252e%252e", "/payments/%2", "/payments/%", "/payments/%zz", "/payments/%c0%ae", "/payments/\xff", "/payments/%ff",
		"/" + strings.Repeat("a", MaxPath), "/a" + strings.Repeat("/a", MaxSegments),
	} {
		if match, err := table.Match("GET", "shop.example", target); err == nil || errors.Is(err, ErrNoRoute) {
			t.Errorf("%.40q = %v, %v, want it refused as ambiguous", target, match, err)
		}
	}
}

// Many programs serve /admin and /admin/ alike.
func TestASlashAtTheEndLeadsAroundNoRoute(t *testing.T) {
	table := compiled(t, append([]nhi.Route{
		{Host: "shop.example", Path: "/docs", Methods: map[string]nhi.ActionClass{"GET": nhi.Read}, Resource: "docs"},
		{Host: "shop.example", Path: "/docs/", Methods: map[string]nhi.ActionClass{"GET": nhi.List}, Resource: "docs"},
	}, shop...))
	for _, target := range []string{"/payments/export/", "/payments/", "/payments/17/", "/payments/17/lines/2/", "/payments/export/?x=1"} {
		if match, err := table.Match("GET", "shop.example", target); err == nil || errors.Is(err, ErrNoRoute) {
			t.Errorf("%s = %v, %v, want it refused as ambiguous", target, match, err)
		}
	}
	for target, want := range map[string]string{
		"/": "GET /{rest...}", "/other/": "GET /{rest...}", "/payments/17/x/": "GET /payments/{id}/{rest...}", "/docs": "GET /docs", "/docs/": "GET /docs/",
	} {
		if match, err := table.Match("GET", "shop.example", target); err != nil || match.Operation != want {
			t.Errorf("%s = %v, %v, want %s", target, match, err, want)
		}
	}
}

func TestBadRoutesAreRefusedByNumber(t *testing.T) {
	get := map[string]nhi.ActionClass{"GET": nhi.Read}
	for name, route := range map[string]nhi.Route{
		"no host":                  {Path: "/", Methods: get, Resource: "r"},
		"a wildcard host":          {Host: "*.example", Path: "/", Methods: get, Resource: "r"},
		"no resource":              {Host: "h", Path: "/", Methods: get},
		"no methods":               {Host: "h", Path: "/", Resource: "r"},
		"lower-case method":        {Host: "h", Path: "/", Methods: map[string]nhi.ActionClass{"get": nhi.Read}, Resource: "r"},
		"unknown class":            {Host: "h", Path: "/", Methods: map[string]nhi.ActionClass{"GET": "look"}, Resource: "r"},
		"relative path":            {Host: "h", Path: "x", Methods: get, Resource: "r"},
		"dot segment":              {Host: "h", Path: "/../x", Methods: get, Resource: "r"},
		"encoded path":             {Host: "h", Path: "/%41", Methods: get, Resource: "r"},
		"query":                    {Host: "h", Path: "/x?y", Methods: get, Resource: "r"},
		"rest in the middle":       {Host: "h", Path: "/{a...}/b", Methods: get, Resource: "r"},
		"half a variable":          {Host: "h", Path: "/x{id}", Methods: get, Resource: "r"},
		"star":                     {Host: "h", Path: "/*", Methods: get, Resource: "r"},
		"nameless variable":        {Host: "h", Path: "/{}", Methods: get, Resource: "r"},
		"nameless rest":            {Host: "h", Path: "/{...}", Methods: get, Resource: "r"},
		"sensitivity out of range": {Host: "h", Path: "/", Methods: get, Resource: "r", Sensitivity: level(5)},
		"the same again":           {Host: "SHOP.example", Path: "/payments/{other}", Methods: get, Resource: "r"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile(append(append([]nhi.Route(nil), shop...), route))
			if !errors.Is(err, nhi.ErrInvalid) || !strings.Contains(err.Error(), fmt.Sprintf("route %d ", len(shop)+1)) {
				t.Errorf("Compile: %v", err)
			}
		})
	}
}

// Applications that pass over capitals, as many frameworks do by default, would
// serve under the vague route what the precise one protects.
func TestCapitalsDoNotLeadAroundARoute(t *testing.T) {
	table := compiled(t, append([]nhi.Route{
		{Host: "shop.example", Path: "/files/Exact", Methods: map[string]nhi.ActionClass{"GET": nhi.Admin}, Resource: "files/exact"},
		{Host: "shop.example", Path: "/files/exact", Methods: map[string]nhi.ActionClass{"GET": nhi.Read}, Resource: "files/plain"},
		{Host: "shop.example", Path: "/maße", Methods: map[string]nhi.ActionClass{"GET": nhi.Admin}, Resource: "files/size"},
		{Host: "shop.example", Path: "/keys", Methods: map[string]nhi.ActionClass{"GET": nhi.Admin}, Resource: "files/keys"},
	}, shop...))
	for _, target := range []string{
		"/payments/EXPORT", "/Payments/export", "/payments/exPort?x", "/payments/%45xport", "/PAYMENTS/17", "/Payments", "/files/eXact",
		"/MA%C3%9FE", "/key%C5%BF", "/%E2%84%AAeys", "/Payments/EXPORT/",
	} {
		if match, err := table.Match("GET", "shop.example", target); err == nil {
			t.Errorf("%s is %v", target, match)
		}
	}
	for target, want := range map[string]string{"/files/Exact": "files/exact", "/files/exact": "files/plain", "/payments/AbC": "payments/api", "/Elsewhere/X": "shop/web"} {
		if match, err := table.Match("GET", "shop.example", target); err != nil || match.Resource != want {
			t.Errorf("%s is %v, %v; want %s", target, match, err, want)
		}
	}
}

// To applications that choose a site by its name, one with a dot at the end is
// another one, often the first that they have.
func TestADotAtTheEndOfAHostIsRefused(t *testing.T) {
	table := compiled(t, shop)
	for _, host := range []string{"shop.example.", "shop.example.:443", "SHOP.EXAMPLE.", "shop.example.."} {
		if match, err := table.Match("GET", host, "/payments"); err == nil {
			t.Errorf("%s is %v", host, match)
		}
	}
}

type source struct {
	routes  []nhi.Route
	version nhi.Generation
}

func (s *source) Routes() ([]nhi.Route, nhi.Generation) { return s.routes, s.version }

func TestBadRoutesNeverReplaceGoodOnes(t *testing.T) {
	src := &source{}
	routes := NewRoutes(src)
	if _, err := routes.Match("GET", "shop.example", "/payments"); !errors.Is(err, ErrNoRoute) {
		t.Errorf("without routes: %v", err)
	}
	src.routes, src.version = shop, 7
	if _, err := routes.Match("GET", "shop.example", "/payments"); err != nil {
		t.Errorf("new routes: %v", err)
	}
	first := routes.current()
	if again := routes.current(); again != first {
		t.Error("unchanged routes were compiled again")
	}
	src.routes, src.version = []nhi.Route{{Host: "h"}}, 8
	if _, err := routes.Match("GET", "shop.example", "/payments"); err != nil || routes.Err() == nil {
		t.Errorf("after bad routes: %v, Err %v", err, routes.Err())
	}
	src.routes, src.version = shop[:1], 9
	if _, err := routes.Match("GET", "shop.example", "/payments/17"); !errors.Is(err, ErrNoRoute) || routes.Err() != nil {
		t.Errorf("after good routes: %v, Err %v", err, routes.Err())
	}
}

func TestBadFirstRoutesDenyEverything(t *testing.T) {
	routes := NewRoutes(&source{routes: []nhi.Route{{Host: "h"}}, version: 1})
	if _, err := routes.Match("GET", "h", "/"); !errors.Is(err, ErrNoRoute) || routes.Err() == nil {
		t.Errorf("Match: %v, Err %v", err, routes.Err())
	}
}

// What matches must be a path with exactly one reading, and matching twice
// gives the same answer.
func FuzzMatch(f *testing.F) {
	table := compiled(f, shop)
	for _, target := range []string{"/payments/17", "/payments/%2e%2e/x", "//", "/a;b", "/%C3%A9", "/%252f", "/payments/17/lines/2?x"} {
		f.Add("GET", "shop.example", target)
	}
	f.Fuzz(func(t *testing.T, method, host, target string) {
		match, err := table.Match(method, host, target)
		if (err == nil) != (match != Match{}) {
			t.Fatalf("Match = %v, %v", match, err)
		}
		if err != nil {
			return
		}
		path, err := cleanPath(target)
		if err != nil {
			t.Fatalf("%q matched although %v", target, err)
		}
		for i, segment := range strings.Split(path[1:], "/") {
			if segment == "." || segment == ".." || strings.ContainsAny(segment, "\\;#?%\x00\r\n") && !strings.Contains(target, "%") {
				t.Fatalf("segment %d of %q is ambiguous", i, path)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	var routes []nhi.Route
	for i := range 1000 {
		routes = append(routes, nhi.Route{Host: "shop.example", Path: fmt.Sprintf("/service%d/{id}/items/{item}", i),
			Methods: map[string]nhi.ActionClass{"GET": nhi.Read}, Resource: "r"})
	}
	table := compiled(b, routes)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := table.Match("GET", "shop.example:443", "/service500/17/items/4?page=2"); err != nil {
			b.Fatal(err)
		}
	}
}
