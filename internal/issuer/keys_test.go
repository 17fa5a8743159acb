package issuer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-id/muster/internal/issuer"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/seal"
)

func kids(t *testing.T, k *issuer.Keys) []string {
	t.Helper()
	set, err := jose.ParseJWKS(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, key := range set.Keys() {
		out = append(out, key.ID)
	}
	return out
}

func TestKeysRotateWithoutSurprisingVerifiers(t *testing.T) {
	store, sealer := &keyStore{}, seal.New()
	k, err := issuer.OpenKeys(t.Context(), store, sealer)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		before := kids(t, k)
		if err := k.Rotate(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		after := kids(t, k)
		if len(after) != 3 || after[1] != before[0] || after[2] != before[1] || k.Signer("JWT").KID() != before[0] {
			t.Errorf("rotation %d: %v, then %v, signing with %s", i, before, after, k.Signer("JWT").KID())
		}
	}
	before := kids(t, k)
	if err := k.Rotate(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if after := kids(t, k); len(after) != 2 || after[1] != before[0] {
		t.Errorf("tainted: %v, then %v", before, after)
	}
	again, err := issuer.OpenKeys(t.Context(), store, sealer)
	if err != nil || fmt.Sprint(kids(t, again)) != fmt.Sprint(kids(t, k)) || again.Signer("x").KID() != k.Signer("x").KID() {
		t.Errorf("opened again: %v, %v", err, kids(t, again))
	}
}

func TestKeysAreAtRestOnlySealed(t *testing.T) {
	store := &keyStore{}
	k, err := issuer.OpenKeys(t.Context(), store, seal.New())
	if err != nil {
		t.Fatal(err)
	}
	for _, mark := range []string{"pkcs8", "format", k.Signer("").KID()} {
		if bytes.Contains(store.sealed, []byte(mark)) {
			t.Errorf("the stored keys show %q", mark)
		}
	}
	if _, err := issuer.OpenKeys(t.Context(), store, seal.New()); err == nil {
		t.Error("the keys open without their seal")
	}
	sealer := seal.New()
	for name, plain := range map[string]string{"garbage": "x", "a newer format": `{"format":2,"keys":[{},{}]}`, "one key": `{"format":1,"keys":[{}]}`, "no key in it": `{"format":1,"keys":[{"pkcs8":"AAAA"},{}]}`} {
		store.sealed = sealer.Seal("issuer/keys", []byte(plain))
		if _, err := issuer.OpenKeys(t.Context(), store, sealer); err == nil {
			t.Errorf("%s opened", name)
		}
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if out := fmt.Sprintf(format, k); !strings.HasPrefix(out, "issuer keys, signing with ") {
			t.Errorf("printed as %.40s", out)
		}
	}
}

func TestKeysThatCannotBeSavedAreNotUsed(t *testing.T) {
	store := &keyStore{}
	k, err := issuer.OpenKeys(t.Context(), store, seal.New())
	if err != nil {
		t.Fatal(err)
	}
	before := fmt.Sprint(kids(t, k))
	store.err = errors.New("disk full")
	if err := k.Rotate(t.Context(), true); err == nil || fmt.Sprint(kids(t, k)) != before {
		t.Errorf("Rotate: %v, keys %v", err, kids(t, k))
	}
	if _, err := issuer.OpenKeys(t.Context(), &keyStore{err: nhi.ErrBusy}, seal.New()); err == nil {
		t.Error("first keys that were never saved are used")
	}
}

func TestRunRotatesOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, err := issuer.OpenKeys(t.Context(), &keyStore{}, seal.New())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		first := kids(t, k)
		time.Sleep(issuer.RotateEvery + time.Minute)
		synctest.Wait()
		if got := kids(t, k); len(got) != 3 || got[1] != first[0] {
			t.Errorf("after a day: %v, began with %v", got, first)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
}
