// Package extauthz answers Envoy, and whoever else speaks its external
// authorization protocol: the gRPC service envoy.service.auth.v3.Authorization.
// What it decides about is what forwardauth decides about, by the same rules;
// both leave them to [enforce.Judge].
//
// The proxy is an enrolled point of the envoy dialect. It sends its key with
// every call, in the metadata muster-point-authorization ("Bearer muster_pnt_…").
// The original request comes in the attributes:
//
//	request.http.method, scheme, host, path   as the client sent them
//	request.http.headers or header_map        the caller's own headers
//	source.address.socket_address             where Envoy's connection comes from
//
// A repeated header in `headers` arrives as one value joined with commas, which
// no credential has, so a comma in one refuses the request as a repetition does.
// `header_map` (encode_raw_headers) keeps them apart. What is told twice, as the
// host is by :authority, must agree. The client's own X-Forwarded-For is hearsay
// and not read; nor are the body, the context extensions, what Envoy says of the
// TLS peer's names. A point that is let (Config.Tells) may tell in
// source.certificate which certificate its caller showed: that is a field of the
// message, so no client writes it. One that Config.Forwards names tells it in
// X-Forwarded-Client-Cert instead, which it writes itself ([enforce.Forwarded]);
// there is room for the whole chain. Of all others that header is not read.
//
// The reply is one of
//
//	OK                  allowed, with the request headers Muster-Identity (the
//	                    caller, or "none") and Muster-Decision (its id, or a
//	                    signed assertion where the point is to), each of which
//	                    replaces what the client sent under that name
//	UNAUTHENTICATED     HTTP 401 with WWW-Authenticate: no enrolled point, a caller
//	                    that proved nothing, or one that must step up (RFC 9470)
//	PERMISSION_DENIED   HTTP 403 with the reasons' ids
//
// All three are replies. An error of the call itself, which a proxy may be set
// to let pass, is left to what never reached a decision: a message that is too
// large or is none, and a server that is gone.
//
// The reply's dynamic metadata tell the access log: decision, outcome, identity
// and, where only the mode of the point let the request pass, the names that
// Envoy's own role-based filter uses for rules on trial, shadow_engine_result
// ("denied") and shadow_effective_policy_id.
package extauthz

import (
	"context"
	"log/slog"
	"net"
	"net/netip"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	httptype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// Metadata is where a call carries the point's key.
const Metadata = "muster-point-authorization"

// Config is what a Service needs. Log may be nil.
type Config struct {
	Points   *enforce.Points
	Routes   *enforce.Routes
	Verifier enforce.Verifier
	Decider  enforce.Decider
	Asserter *enforce.Asserter // nil: a point that is to assert refuses
	// Tells reports whether a point may tell which certificate its caller showed.
	// Nil: none may.
	Tells func(*nhi.Point) bool
	// Forwards reports whether a point tells it in X-Forwarded-Client-Cert, and
	// nowhere else. Nil: none does.
	Forwards func(*nhi.Point) bool
	Log      *slog.Logger
}

// A Service answers checks. It is safe for concurrent use.
type Service struct {
	auth.UnimplementedAuthorizationServer
	points   *enforce.Points
	judge    enforce.Judge
	asserter *enforce.Asserter
	tells    func(*nhi.Point) bool
	forwards func(*nhi.Point) bool
	log      *slog.Logger
}

// New returns a Service; [NewServer] puts it on the wire.
func New(c Config) *Service {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{points: c.Points, judge: enforce.Judge{Routes: c.Routes, Verifier: c.Verifier, Decider: c.Decider}, asserter: c.Asserter, tells: c.Tells, forwards: c.Forwards, log: c.Log}
}

// Check answers one request. It returns no error: what goes wrong here is a
// denial, which no setting of a proxy turns into a pass.
func (s *Service) Check(ctx context.Context, request *auth.CheckRequest) (response *auth.CheckResponse, _ error) {
	defer func() {
		if recover() != nil {
			// The value may hold anything, so it is not logged.
			s.log.Error("panic while deciding: denied")
			response = reply(&enforce.Broken, "")
		}
	}()
	var key string
	if keys := metadata.ValueFromIncomingContext(ctx, Metadata); len(keys) == 1 {
		key = keys[0]
	}
	point, err := s.points.Authenticate(key, remote(ctx))
	if err != nil {
		s.log.Warn("ext_authz refused", "error", err)
		return reply(&enforce.Unenrolled, ""), nil
	}
	asking := enforce.Asking{Point: &point}
	asking.Original, asking.Header, asking.Err = read(request.GetAttributes())
	if s.forwards != nil && s.forwards(&point) {
		asking.Forwarded(asking.Header)
	} else if s.tells != nil && s.tells(&point) {
		var err error
		if asking.Certificates, err = enforce.ParseCertificates(request.GetAttributes().GetSource().GetCertificate()); err != nil && asking.Err == nil {
			asking.Err = err
		}
	}
	if point.Dialect != nhi.DialectEnvoy {
		asking.Original, asking.Err = enforce.Original{}, errDialect
	}
	verdict := s.judge.Judge(ctx, &asking)
	decision, err := s.asserter.Tell(&point, &asking.Original, &verdict, enforce.Body{})
	if err != nil {
		s.log.Error("a decision could not be asserted: denied", "point", point.Name, "error", err)
		verdict = enforce.Unasserted(&verdict)
	}
	return reply(&verdict, decision), nil
}

// remote returns the address of the connection that a call came on; the zero
// value, which nobody trusts, when it has none.
func remote(ctx context.Context) netip.AddrPort {
	if p, ok := peer.FromContext(ctx); ok {
		if address, ok := p.Addr.(*net.TCPAddr); ok {
			return address.AddrPort()
		}
	}
	return netip.AddrPort{}
}

// reply says what the point must do. Decision is the value of Muster-Decision.
func reply(v *enforce.Verdict, decision string) *auth.CheckResponse {
	response := &auth.CheckResponse{DynamicMetadata: notes(v)}
	if v.Outcome == nhi.Allow {
		response.Status = &status.Status{Code: int32(codes.OK)}
		response.HttpResponse = &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{Headers: []*core.HeaderValueOption{
			header("muster-identity", v.Caller()), header("muster-decision", decision),
		}}}
		return response
	}
	code, headers := codes.PermissionDenied, []*core.HeaderValueOption{
		header("content-type", "application/json"), header("cache-control", "no-store"), header("muster-decision", decision),
	}
	if v.Challenge != "" {
		code, headers = codes.Unauthenticated, append(headers, header("www-authenticate", v.Challenge))
	}
	response.Status = &status.Status{Code: int32(code)}
	response.HttpResponse = &auth.CheckResponse_DeniedResponse{DeniedResponse: &auth.DeniedHttpResponse{
		Status:  &httptype.HttpStatus{Code: httptype.StatusCode(v.Status())},
		Headers: headers, Body: string(v.Body()),
	}}
	return response
}

// header replaces whatever is there under its name.
func header(name, value string) *core.HeaderValueOption {
	return &core.HeaderValueOption{
		Header: &core.HeaderValue{Key: name, Value: value}, AppendAction: core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// notes are what the access log and later filters may know.
func notes(v *enforce.Verdict) *structpb.Struct {
	fields := map[string]*structpb.Value{
		"decision": structpb.NewStringValue(v.Decision), "outcome": structpb.NewStringValue(string(v.Outcome)),
		"identity": structpb.NewStringValue(v.Caller()),
	}
	if v.Glass != "" {
		fields["break_glass"] = structpb.NewStringValue(v.Glass)
	}
	if v.WouldRefuse || v.Glass != "" {
		fields["shadow_engine_result"] = structpb.NewStringValue("denied")
		if len(v.Reasons) > 0 {
			fields["shadow_effective_policy_id"] = structpb.NewStringValue(v.Reasons[0])
		}
	}
	return &structpb.Struct{Fields: fields}
}
