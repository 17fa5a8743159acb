// Package telemetry sends traces to an OpenTelemetry collector (OTLP over
// HTTP), when the OTEL_* variables of the environment ask for it. It is the one
// door to OpenTelemetry: a [Tracing] follows requests into the server
// ([Tracing.Handler]), each [Decision] within them, and requests that the
// server makes ([Transport]). Trace context comes in and goes out as W3C Trace
// Context, section 3.2 (traceparent).
//
// It is off by default, and off it costs the decision path no allocation. A nil
// *Tracing is one that is off. Nothing that a caller wrote leaves in a trace: no
// path, name, address or header, only methods, routes, status codes, and the ids
// and outcomes of decisions. The state that callers send along (tracestate) is
// dropped for the same reason.
package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const scope = "github.com/muster-id/muster"

// Tracing sends traces. All methods may be called on nil, and concurrently.
type Tracing struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// Start begins tracing if getenv, the process's own environment, says so: an
// endpoint is named (OTEL_EXPORTER_OTLP_ENDPOINT or
// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) and neither OTEL_SDK_DISABLED=true nor
// OTEL_TRACES_EXPORTER=none. Else it returns nil. The other variables of the
// OpenTelemetry specification (headers, certificates, sampler, batches, resource
// attributes) are read by its library. Start does not wait for the collector.
// Stop must be called at the end.
func Start(ctx context.Context, getenv func(string) string, version string) (*Tracing, error) {
	endpoint := getenv("OTEL_EXPORTER_OTLP_ENDPOINT") + getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	if endpoint == "" || strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil, nil
	}
	if e := getenv("OTEL_TRACES_EXPORTER"); e != "" && e != "otlp" {
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER is %q: only otlp and none can be used", e)
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		if p := getenv(name); p != "" && p != "http/protobuf" {
			return nil, fmt.Errorf("%s is %q: only http/protobuf can be used (the collector's port 4318)", name, p)
		}
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("begin tracing: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "muster"), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		slog.Warn("traces could not be sent; see that the collector runs where OTEL_EXPORTER_OTLP_ENDPOINT says", "error", err)
	}))
	p := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about))
	return &Tracing{provider: p, tracer: p.Tracer(scope)}, nil
}

// Stop sends what is waiting, for five seconds at most, and ends tracing.
func (t *Tracing) Stop(ctx context.Context) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("end tracing: %w", err)
	}
	return nil
}

type contextKey struct{}

// With returns a context in which requests that [Transport] sends begin traces
// of their own where they belong to none.
func (t *Tracing) With(ctx context.Context) context.Context {
	if t == nil {
		return ctx
	}
	return context.WithValue(ctx, contextKey{}, t)
}

// Handler follows each request through next. The span is named by method and
// route.
func (t *Tracing) Handler(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx = trace.ContextWithRemoteSpanContext(ctx, trace.SpanContextFromContext(ctx).WithTraceState(trace.TraceState{}))
		method := method(r.Method)
		ctx, span := t.tracer.Start(ctx, method, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.String("http.request.method", method)))
		defer span.End()
		followed, rec := r.WithContext(ctx), &reply{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(rec, followed)
		if _, route, ok := strings.Cut(followed.Pattern, "/"); ok {
			span.SetName(method + " /" + route)
			span.SetAttributes(attribute.String("http.route", "/"+route))
		}
		finish(span, rec.status, http.StatusInternalServerError)
	})
}

// finish notes the status of a reply; from bad on it is an error.
func finish(span trace.Span, status, bad int) {
	span.SetAttributes(attribute.Int("http.response.status_code", status))
	if status >= bad {
		span.SetStatus(codes.Error, "")
	}
}

// method is a method that is known, else what the semantic conventions say for
// one that is not.
func method(m string) string {
	if slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}, m) {
		return m
	}
	return "_OTHER"
}

// reply remembers the status.
type reply struct {
	http.ResponseWriter
	status int
	wrote  bool
}

func (r *reply) WriteHeader(status int) {
	if !r.wrote && status >= http.StatusOK {
		r.status, r.wrote = status, true
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *reply) Write(b []byte) (int, error) {
	r.wrote = true
	return r.ResponseWriter.Write(b)
}

// Flush lets streams flow.
func (r *reply) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }

// Unwrap serves http.ResponseController.
func (r *reply) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// A Decision is one decision within a traced request. The zero value is one
// that nobody follows.
type Decision struct{ span trace.Span }

// Deciding begins to follow a decision, if ctx belongs to a trace that is
// recorded. Otherwise it costs one look-up and allocates nothing.
func Deciding(ctx context.Context) Decision {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return Decision{}
	}
	_, span := parent.TracerProvider().Tracer(scope).Start(ctx, "decide")
	return Decision{span}
}

// End ends it with the id and the outcome of the decision.
func (d Decision) End(id, outcome string) {
	if d.span == nil {
		return
	}
	d.span.SetAttributes(attribute.String("muster.decision.id", id), attribute.String("muster.decision.outcome", outcome))
	d.span.End()
}

// Transport returns a transport that sends by base (nil: the default one) and
// tells whom it asks about the trace that the request belongs to. What is the
// kind of who is asked (webhook, sso, kms), never their name.
func Transport(base http.RoundTripper, what string) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{base, what}
}

type transport struct {
	base http.RoundTripper
	what string
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	var tracer trace.Tracer
	if parent := trace.SpanFromContext(ctx); parent.SpanContext().IsValid() {
		tracer = parent.TracerProvider().Tracer(scope)
	} else if on, ok := ctx.Value(contextKey{}).(*Tracing); ok {
		tracer = on.tracer
	} else {
		return t.base.RoundTrip(r)
	}
	ctx, span := tracer.Start(ctx, method(r.Method)+" "+t.what, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("http.request.method", method(r.Method)), attribute.String("muster.peer", t.what)))
	defer span.End()
	r = r.Clone(ctx)
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(r.Header))
	res, err := t.base.RoundTrip(r)
	if err != nil {
		span.SetStatus(codes.Error, "") // the text of the error may name addresses
		return res, err
	}
	finish(span, res.StatusCode, http.StatusBadRequest)
	return res, nil
}
