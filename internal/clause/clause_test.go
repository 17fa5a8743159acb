package clause

import (
	"testing"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/google/go-cmp/cmp"
)

func TestAPolicyIsTakenApartAsItIsRead(t *testing.T) {
	list, err := cedar.NewPolicyListFromBytes("x", []byte(`forbid (principal is Role in Identity::"a", action in [Action::"read", Action::"list"], resource == Resource::"r")
when { context.a && (context.b && context.c || !context["odd name"].d) } unless { if context has x then action == Action::"read" else false };`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	var add func(n ast.IsNode, indent string)
	add = func(n ast.IsNode, indent string) {
		join, inner := Split(n)
		got = append(got, indent+join+"|"+Text(n))
		for _, i := range inner {
			add(i, indent+" ")
		}
	}
	for _, c := range Of((*ast.Policy)(list[0].AST())) {
		got = append(got, c.Name)
		if c.Want != (c.Name != "unless") {
			t.Errorf("%s wants %v", c.Name, c.Want)
		}
		add(c.Node, "")
	}
	want := []string{
		"scope", `|principal is Role in Identity::"a"`, "scope", `|action in [Action::"read", Action::"list"]`, "scope", `|resource == Resource::"r"`,
		"when", `and|context.a && (context.b && context.c || !context["odd name"].d)`, " |context.a", ` or|context.b && context.c || !context["odd name"].d`,
		"  and|context.b && context.c", "   |context.b", "   |context.c", `  not|!context["odd name"].d`, `   |context["odd name"].d`,
		"unless", `if|if context has x then action == Action::"read" else false`, " |context has x", ` |action == Action::"read"`, " |false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	deep := ast.Context().Access("a").Access("b")
	if name := Attribute(deep.AsIsNode()); name != "context.a.b" {
		t.Errorf("attribute %q", name)
	}
	if name := Attribute(ast.Long(3).AsIsNode()); name != "" {
		t.Errorf("a number reads %q", name)
	}
}
