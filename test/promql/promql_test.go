// Package promql_test parses the dashboard and the alert rules in deploy with
// Prometheus' own parser. It is a module of its own, so that the product does not
// depend on Prometheus. That each metric is one that a server serves is tested
// beside the server.
package promql_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// expressions finds every expression in a dashboard, wherever it stands.
func expressions(value any) (out []string) {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			if text, ok := inner.(string); ok && key == "expr" {
				out = append(out, text)
				continue
			}
			out = append(out, expressions(inner)...)
		}
	case []any:
		for _, inner := range v {
			out = append(out, expressions(inner)...)
		}
	}
	return out
}

// metrics are the names that an expression reads.
func metrics(t *testing.T, text string) (names []string) {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		t.Errorf("%s: %v", text, err)
		return nil
	}
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			names = append(names, s.Name)
		}
		return nil
	})
	return names
}

func TestEveryExpressionOfTheDashboardIsPromQL(t *testing.T) {
	text, err := os.ReadFile("../../deploy/grafana/muster.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard any
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	all := expressions(dashboard)
	if len(all) < 10 {
		t.Fatalf("only %d expressions in the dashboard", len(all))
	}
	for _, expr := range all {
		// What Grafana puts in before it asks.
		expr = strings.NewReplacer("$__rate_interval", "5m", "$__interval", "1m", "$__range", "1h").Replace(expr)
		if names := metrics(t, expr); len(names) == 0 || slices.Contains(names, "") {
			t.Errorf("%s reads %q, want named metrics", expr, names)
		}
	}
}

func TestPrometheusLoadsTheAlertRules(t *testing.T) {
	const file = "../../deploy/prometheus/muster.rules.yaml"
	groups, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.Default())
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	alerts := 0
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			alerts++
			if r.Alert == "" || r.Annotations["summary"] == "" || r.Annotations["action"] == "" || r.Labels["severity"] == "" {
				t.Errorf("%s lacks a severity, a summary or what to do: %+v", r.Alert, r)
			}
			if len(metrics(t, r.Expr)) == 0 {
				t.Errorf("%s reads no metric", r.Alert)
			}
		}
	}
	if alerts < 10 {
		t.Errorf("only %d alerts", alerts)
	}
}

func TestABrokenExpressionIsFound(t *testing.T) {
	for _, text := range []string{"rate(muster_decisions_total)", "sum by (outcome) (rate(muster_decisions_total[5m])", "histogram_quantile(muster_decision_seconds_bucket)"} {
		if _, err := parser.NewParser(parser.Options{}).ParseExpr(text); err == nil {
			t.Errorf("%s is taken for PromQL", text)
		}
	}
}
