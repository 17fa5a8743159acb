package proxy_test

import (
	"io/fs"
	"strings"
	"testing"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extauthz "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	manager "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/muster-id/muster/docs"
)

// unpacked visits a message and everything in it, also what is wrapped.
func unpacked(t *testing.T, m proto.Message, visit func(proto.Message)) {
	t.Helper()
	if wrapped, ok := m.(*anypb.Any); ok {
		inner, err := wrapped.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		unpacked(t, inner, visit)
		return
	}
	visit(m)
	m.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.IsMap() && field.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				unpacked(t, v.Message().Interface(), visit)
				return true
			})
		case field.IsList() && field.Message() != nil:
			for i := range v.List().Len() {
				unpacked(t, v.List().Get(i).Message().Interface(), visit)
			}
		case !field.IsMap() && field.Message() != nil:
			unpacked(t, v.Message().Interface(), visit)
		}
		return true
	})
}

func decode(t *testing.T, text string, into proto.Message) {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = protojson.Unmarshal(data, into) // refuses fields that nobody knows
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestTheGuideOfEnvoyIsAnEnvoyConfiguration reads it as the types that Envoy
// publishes, asks their own rules, and looks at what must never be otherwise.
func TestTheGuideOfEnvoyIsAnEnvoyConfiguration(t *testing.T) {
	guide := fence(t, "envoy.md", "yaml")
	var whole bootstrap.Bootstrap
	decode(t, guide, &whole)
	found := map[string]int{}
	unpacked(t, &whole, func(m proto.Message) {
		if v, ok := m.(interface{ ValidateAll() error }); ok {
			if err := v.ValidateAll(); err != nil {
				t.Errorf("%s: %v", m.ProtoReflect().Descriptor().FullName(), err)
			}
		}
		switch m := m.(type) {
		case *extauthz.ExtAuthz:
			found["ext_authz"]++
			if m.FailureModeAllow || !m.EncodeRawHeaders || m.WithRequestBody != nil || m.GetGrpcService().GetEnvoyGrpc().GetClusterName() != "muster" || m.GetFilterEnabled() != nil {
				t.Errorf("ext_authz: %v", m)
			}
			if md := m.GetGrpcService().GetInitialMetadata(); len(md) != 1 || md[0].Key != "muster-point-authorization" || !strings.HasPrefix(md[0].Value, "Bearer ") {
				t.Errorf("ext_authz sends %v", md)
			}
		case *manager.HttpConnectionManager:
			found["manager"]++
			if m.HttpFilters[0].Name != "envoy.filters.http.ext_authz" || m.GetNormalizePath().GetValue() {
				t.Errorf("the first filter is %s, paths are normalised: %v", m.HttpFilters[0].Name, m.GetNormalizePath())
			}
		case *core.HealthCheck_GrpcHealthCheck:
			found["health"]++
			if m.ServiceName != "envoy.service.auth.v3.Authorization" {
				t.Errorf("it looks after the health of %s", m.ServiceName)
			}
		}
	})
	if found["ext_authz"] != 1 || found["manager"] != 1 || found["health"] != 1 {
		t.Errorf("the configuration has %v", found)
	}
	source, err := fs.ReadFile(docs.Files, "guide/envoy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, second, _ := strings.Cut(string(source), "add to the cluster `muster`:\n\n```yaml\ntransport_socket:\n")
	second, _, ok := strings.Cut(second, "\n```\n")
	if !ok {
		t.Fatal("the guide does not say how to reach a Muster on another machine")
	}
	var socket core.TransportSocket
	decode(t, second, &socket)
	unpacked(t, &socket, func(m proto.Message) {
		if v, ok := m.(interface{ ValidateAll() error }); ok {
			if err := v.ValidateAll(); err != nil {
				t.Errorf("%s: %v", m.ProtoReflect().Descriptor().FullName(), err)
			}
		}
	})
}
