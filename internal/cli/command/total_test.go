package command

import (
	"testing"

	"github.com/muster-id/muster/client"
)

func TestACutListSaysHowManyThereAre(t *testing.T) {
	for _, tt := range []struct {
		page client.Page[int]
		read int
		want string
	}{
		{client.Page[int]{Total: 50}, 50, ""},
		{client.Page[int]{Total: 1234, Next: "x"}, 50, "1234"},
		{client.Page[int]{Total: 10000, AtLeast: true, Next: "x"}, 50, "10000+"},
		{client.Page[int]{Next: "x"}, 50, "50+"}, // a list that is not counted
	} {
		if got := total(&tt.page, tt.read); got != tt.want {
			t.Errorf("total(%+v, %d) = %q, want %q", tt.page, tt.read, got, tt.want)
		}
	}
}
