package telemetry_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/muster-id/muster/internal/telemetry"
)

// A receiver is a collector for the length of a test.
type receiver struct {
	mu       sync.Mutex // guards the rest
	spans    []*otlp.Span
	resource string
	raw      string
}

func (c *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var req collector.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &req) != nil {
		http.Error(w, "no traces", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw += string(body)
	for _, rs := range req.ResourceSpans {
		c.resource = rs.Resource.String()
		for _, ss := range rs.ScopeSpans {
			c.spans = append(c.spans, ss.Spans...)
		}
	}
}

func (c *receiver) span(t *testing.T, name string) *otlp.Span {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no span %q in %v", name, c.spans)
	return nil
}

func attributes(s *otlp.Span) map[string]string {
	all := map[string]string{}
	for _, a := range s.Attributes {
		all[a.Key] = a.Value.GetStringValue()
	}
	return all
}

// trace serves one request with tracing on, and returns what the collector
// heard.
func trace(t *testing.T, handler http.Handler, r *http.Request) *receiver {
	t.Helper()
	c, on := listen(t)
	on.Handler(handler).ServeHTTP(httptest.NewRecorder(), r.WithContext(on.With(r.Context())))
	if err := on.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// listen starts a collector, and tracing that sends to it.
func listen(t *testing.T) (*receiver, *telemetry.Tracing) {
	t.Helper()
	c := &receiver{}
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", srv.URL)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	on, err := telemetry.Start(t.Context(), os.Getenv, "v1")
	if err != nil || on == nil {
		t.Fatalf("Start = %v, %v", on, err)
	}
	return c, on
}

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestATraceGoesThroughTheServer(t *testing.T) {
	var asked string
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.Header.Get("Traceparent") }))
	defer hook.Close()
	client := &http.Client{Transport: telemetry.Transport(nil, "webhook")}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/things/{id}", func(w http.ResponseWriter, r *http.Request) {
		telemetry.Deciding(r.Context()).End("018f", "deny")
		out, err := http.NewRequestWithContext(r.Context(), http.MethodPost, hook.URL+"/secret-of-the-hook", nil)
		if err != nil {
			t.Error(err)
			return
		}
		res, err := client.Do(out)
		if err != nil {
			t.Error(err)
			return
		}
		res.Body.Close()
		w.WriteHeader(http.StatusTeapot)
	})
	r := httptest.NewRequest(http.MethodPost, "/v1/things/name-of-somebody?key=secret-in-query", strings.NewReader("secret-in-body"))
	r.Header.Set("Traceparent", parent)
	r.Header.Set("Tracestate", "vendor=text-of-a-stranger")
	r.Header.Set("Authorization", "Bearer secret-in-header")
	c := trace(t, mux, r)

	server, decision, out := c.span(t, "POST /v1/things/{id}"), c.span(t, "decide"), c.span(t, "POST webhook")
	if got, want := string(server.ParentSpanId), "\xb7\xad\x6b\x71\x69\x20\x33\x31"; got != want {
		t.Errorf("the parent is %x, want the caller's", got)
	}
	for _, s := range []*otlp.Span{decision, out} {
		if string(s.TraceId) != string(server.TraceId) || string(s.ParentSpanId) != string(server.SpanId) {
			t.Errorf("%s does not belong to the request", s.Name)
		}
	}
	if got := attributes(decision); got["muster.decision.id"] != "018f" || got["muster.decision.outcome"] != "deny" {
		t.Errorf("the decision is %v", got)
	}
	if !strings.HasPrefix(asked, "00-0af7651916cd43dd8448eb211c80319c-") || strings.Contains(asked, "b7ad6b7169203331") {
		t.Errorf("the hook was told %q", asked)
	}
	if !strings.Contains(c.resource, "muster") || !strings.Contains(c.resource, "deployment.environment.name") {
		t.Errorf("the resource is %s", c.resource)
	}
	for _, text := range []string{"secret-", "somebody", "stranger", "127.0.0.1"} {
		if strings.Contains(c.raw, text) {
			t.Errorf("%q left in a trace", text)
		}
	}
}

func TestWorkOfTheServerItselfBeginsATrace(t *testing.T) {
	var asked string
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.Header.Get("Traceparent") }))
	defer hook.Close()
	c, on := listen(t)
	req, err := http.NewRequestWithContext(on.With(t.Context()), http.MethodGet, hook.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := telemetry.Transport(nil, "sso").RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if err := on.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if span := c.span(t, "GET sso"); len(span.ParentSpanId) != 0 || asked == "" {
		t.Errorf("the parent is %x, told %q", span.ParentSpanId, asked)
	}
}

func TestAMethodThatNobodyKnowsIsNotRepeated(t *testing.T) {
	c := trace(t, http.NotFoundHandler(), httptest.NewRequest("SECRETWORD", "/", nil))
	c.span(t, "_OTHER")
	if strings.Contains(c.raw, "SECRETWORD") {
		t.Error("it left in a trace")
	}
}

func TestTracingIsOffUnlessItIsAskedFor(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		bad  bool
	}{
		{"nothing", nil, false},
		{"disabled", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, false},
		{"no exporter", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, false},
		{"another exporter", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "zipkin"}, true},
		{"another protocol", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			on, err := telemetry.Start(t.Context(), func(name string) string { return tt.env[name] }, "v1")
			if on != nil || (err != nil) != tt.bad {
				t.Errorf("Start = %v, %v", on, err)
			}
			if err := on.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A markKey is the key of a value in a context like that of a request.
type markKey struct{}

func TestTracingThatIsOffCostsTheDecisionPathNothing(t *testing.T) {
	var off *telemetry.Tracing
	ctx := off.With(context.WithValue(t.Context(), markKey{}, "a request"))
	if n := testing.AllocsPerRun(1000, func() { telemetry.Deciding(ctx).End("018f", "allow") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	next := http.NewServeMux()
	if got := off.Handler(next); got != http.Handler(next) {
		t.Error("requests take a detour")
	}
}

func BenchmarkDecidingWithoutTracing(b *testing.B) {
	ctx := context.WithValue(b.Context(), markKey{}, "a request")
	b.ReportAllocs()
	for b.Loop() {
		telemetry.Deciding(ctx).End("018f", "allow")
	}
}
