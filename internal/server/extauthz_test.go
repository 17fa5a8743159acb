package server

import (
	"context"
	"net/http"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/health"
)

// check asks as Envoy does and returns the HTTP status that it would answer.
func (r *running) check(point, authorization, method, path string) int {
	r.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+r.ExtAuthz(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	response, err := auth.NewAuthorizationClient(conn).Check(metadata.AppendToOutgoingContext(ctx, "muster-point-authorization", "Bearer "+point), &auth.CheckRequest{
		Attributes: &auth.AttributeContext{
			Source:  &auth.AttributeContext_Peer{Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{Address: "203.0.113.7"}}}},
			Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{Method: method, Scheme: "https", Host: "api.example.com", Path: path, Headers: map[string]string{"authorization": authorization}}},
		},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if response.GetOkResponse() != nil {
		return http.StatusOK
	}
	return int(response.GetDeniedResponse().GetStatus().GetCode())
}

func TestEnvoyIsAnsweredByTheSameRulesAsEverybody(t *testing.T) {
	r := start(t, t.TempDir(), func(c *config.Config) { c.ExtAuthzListen = "127.0.0.1:0" })
	nginx, key := r.furnish()
	var envoy client.Enrolled
	r.send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "mesh", Dialect: "envoy"}, &envoy)
	enforce := "enforce"
	r.send(http.MethodPatch, "/v1/points/mesh", client.SetPoint{Mode: &enforce}, nil)
	for _, tt := range []struct {
		name, point, authorization, method, path string
		want                                     int
	}{
		{"the rightful key", envoy.Key, "Bearer " + key.Key, "GET", "/payments/1", 200},
		{"no route", envoy.Key, "Bearer " + key.Key, "GET", "/elsewhere", 403},
		{"no credential", envoy.Key, "", "GET", "/payments/1", 401},
		{"no point", "x", "Bearer " + key.Key, "GET", "/payments/1", 401},
		{"a point of another dialect", nginx, "Bearer " + key.Key, "GET", "/payments/1", 403},
	} {
		if got := r.check(tt.point, tt.authorization, tt.method, tt.path); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	r.post(r.source("chat", "text"), "found this: "+key.Key)
	if got := r.check(envoy.Key, "Bearer "+key.Key, "GET", "/payments/1"); got == 200 {
		t.Error("a key that leaked passes after its containment was acknowledged")
	}
	var lines []string
	for _, c := range r.health.Report(t.Context()).Checks {
		if c.Name == "ext_authz" && c.Level == health.LevelOK {
			lines = append(lines, c.Name)
		}
	}
	if len(lines) != 1 {
		t.Error("its health says nothing of ext_authz")
	}
}
