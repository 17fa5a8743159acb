package enforce_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/enforce"
)

func digest(t *testing.T, text string) string {
	t.Helper()
	got, err := enforce.Digest([]byte(text))
	if err != nil {
		t.Fatalf("Digest(%s): %v", text, err)
	}
	return got
}

func TestADigestIsOfWhatIsMeantNotOfHowItIsWritten(t *testing.T) {
	// The order of names is that of RFC 8785, section 3.2.3, the escapes those of 3.2.2.2.
	written := "{ \"peach\": \"\\u0061\\/\", \"1\": [1 , null],\n\"\\u20ac\": {}, \"\\r\": \"\u00e9\" }"
	sum := sha256.Sum256([]byte("{\"\\r\":\"\u00e9\",\"1\":[1,null],\"peach\":\"a/\",\"\u20ac\":{}}"))
	if got, want := digest(t, written), hex.EncodeToString(sum[:]); got != want {
		t.Errorf("Digest = %s, want %s", got, want)
	}
}

func TestTwoLargeNumbersAreNotOne(t *testing.T) {
	if digest(t, `{"amount":9007199254740993}`) == digest(t, `{"amount":9007199254740992}`) {
		t.Error("whoever approved one amount approved another")
	}
	if digest(t, `{"amount":1e400}`) == digest(t, `{"amount":1e401}`) {
		t.Error("what is beyond all numbers is one")
	}
}

func TestWhatTwoProgramsReadDifferentlyHasNoDigest(t *testing.T) {
	for _, text := range []string{"", `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, "\"\xff\"", `"\ud800"`, `{} {}`, `{"a":}`, strings.Repeat("[", 20000)} {
		if got, err := enforce.Digest([]byte(text)); err == nil {
			t.Errorf("Digest(%.40q) = %s, want an error", text, got)
		}
	}
}

func TestTooDeepLooksAtBracketsOutsideTexts(t *testing.T) {
	for text, want := range map[string]bool{`{"a":[{}]}`: false, `{"a":[{"b":[]}]}`: true, `{"a":"[[[[[[\"[["}`: false, `[[[[`: true, "": false} {
		if got := enforce.TooDeep([]byte(text), 3); got != want {
			t.Errorf("TooDeep(%s) = %v, want %v", text, got, want)
		}
	}
}

func FuzzDigest(f *testing.F) {
	f.Add([]byte(`{"b":1,"a":[1.50,"\u00e9"]}`))
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		before := string(text)
		first, err := enforce.Digest(text)
		if string(text) != before {
			t.Fatal("the text was changed")
		}
		if second, again := enforce.Digest(text); second != first || (again == nil) != (err == nil) {
			t.Errorf("two digests of one text: %s, %s", first, second)
		}
	})
}
