package store_test

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

func arm(name string, version, weight int32) *registryv1.Arm {
	return &registryv1.Arm{Name: name, Version: version, Weight: weight}
}

func (s suite) splits(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	one, two := e.version("m", 1), e.version("m", 2)
	_, err := e.GetSplit(ctx, "m")
	wantReason(t, err, apierr.NotFound, "model")
	wantReason(t, e.DeleteSplit(ctx, "", "m", "*"), apierr.NotFound, "model")
	_, err = e.GetSplit(ctx, "absent")
	wantReason(t, err, apierr.ModelNotFound, "model")

	e.clock.Advance(time.Second)
	ordered := []*registryv1.Arm{arm("z", 2, 900_000), arm("a", 1, 100_000), arm("off", 1, 0)}
	split, err := e.SetSplit(ctx, "", "m", ordered, "")
	check(t, err)
	for i, a := range split.GetArms() {
		if !proto.Equal(&registryv1.Arm{Name: a.GetName(), Version: a.GetVersion(), Weight: a.GetWeight()}, ordered[i]) {
			t.Errorf("arm %d is %v, want %v: the order decides the ranges", i, a, ordered[i])
		}
	}
	if split.GetArms()[0].GetDigest() != two.GetDigest() || split.GetArms()[1].GetDigest() != one.GetDigest() {
		t.Errorf("digests of %v", split.GetArms())
	}
	if len(split.GetSalt()) != 32 || split.GetModel() != "m" || !split.GetUpdateTime().AsTime().Equal(start.Add(time.Second)) {
		t.Errorf("set %v", split)
	}
	got, err := e.GetSplit(ctx, "m")
	check(t, err)
	if !proto.Equal(got, split) {
		t.Errorf("got %v, want %v", got, split)
	}

	before := e.revision()
	same, err := e.SetSplit(ctx, "", "m", ordered, split.GetEtag())
	check(t, err)
	if !proto.Equal(same, split) || e.revision() != before {
		t.Errorf("a split that stays became %v", same)
	}
	_, err = e.SetSplit(ctx, "", "m", []*registryv1.Arm{arm("a", 1, store.WholeSplit)}, "")
	wantReason(t, err, apierr.Conflict, "etag")
	if got := apierr.From(err).Metadata["etag"]; got != split.GetEtag() {
		t.Errorf("the error gives the etag %q, want %q", got, split.GetEtag())
	}

	changed, err := e.SetSplit(ctx, "", "m", []*registryv1.Arm{arm("z", 2, 500_000), arm("a", 1, 500_000)}, split.GetEtag())
	check(t, err)
	if changed.GetSalt() != split.GetSalt() || changed.GetEtag() == split.GetEtag() || len(changed.GetArms()) != 2 {
		t.Errorf("changed from %v to %v", split, changed)
	}
	wantReason(t, e.DeleteSplit(ctx, "", "m", split.GetEtag()), apierr.Conflict, "etag")
	check(t, e.DeleteSplit(ctx, "", "m", changed.GetEtag()))
	_, err = e.GetSplit(ctx, "m")
	wantReason(t, err, apierr.NotFound, "model")
}

func (s suite) splitChecks(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	e.model("m")
	e.version("m", 1)
	before := e.revision()
	tests := map[string]struct {
		arms   []*registryv1.Arm
		reason apierr.Reason
		field  string
	}{
		"no arms":         {nil, apierr.InvalidArgument, "arms"},
		"too little":      {[]*registryv1.Arm{arm("a", 1, 999_999)}, apierr.InvalidArgument, "arms"},
		"too much":        {[]*registryv1.Arm{arm("a", 1, 999_999), arm("b", 1, 2)}, apierr.InvalidArgument, "arms"},
		"over the whole":  {[]*registryv1.Arm{arm("a", 1, 1_000_001), arm("b", 1, -1)}, apierr.InvalidArgument, "arms[0].weight"},
		"a name twice":    {[]*registryv1.Arm{arm("a", 1, 500_000), arm("a", 1, 500_000)}, apierr.InvalidArgument, "arms[1].name"},
		"no name":         {[]*registryv1.Arm{arm("", 1, 1_000_000)}, apierr.InvalidArgument, "arms[0].name"},
		"no such version": {[]*registryv1.Arm{arm("a", 1, 500_000), arm("b", 2, 500_000)}, apierr.NotFound, "arms[1].version"},
	}
	for name, tt := range tests {
		_, err := e.SetSplit(t.Context(), "", "m", tt.arms, "")
		if apierr.ReasonOf(err) != tt.reason || apierr.From(err).Field != tt.field {
			t.Errorf("%s: got %v, want %s of %s", name, err, tt.reason, tt.field)
		}
	}
	if e.revision() != before {
		t.Errorf("a refused split used up a revision")
	}
	_, err := e.SetSplit(t.Context(), "", "absent", []*registryv1.Arm{arm("a", 1, store.WholeSplit)}, "")
	wantReason(t, err, apierr.ModelNotFound, "model")
}

// splitDigests gives digests with the arms, as one does who sends back a split
// that was read.
func (s suite) splitDigests(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	one, two := e.version("m", 1), e.version("m", 2)
	named := func(version int32, digest string) []*registryv1.Arm {
		a := arm("b", version, 500_000)
		a.Digest = digest
		return []*registryv1.Arm{arm("a", 1, 500_000), a}
	}
	refused := func(arms []*registryv1.Arm, etag string, reason apierr.Reason, field string) {
		t.Helper()
		before := e.revision()
		_, err := e.SetSplit(ctx, "", "m", arms, etag)
		wantReason(t, err, reason, field)
		if e.revision() != before {
			t.Error("a refused split used up a revision")
		}
	}
	refused(named(2, one.GetDigest()), "", apierr.InvalidArgument, "arms[1].digest")
	refused(named(2, "2"), "", apierr.InvalidArgument, "arms[1].digest")
	refused(named(3, one.GetDigest()), "", apierr.NotFound, "arms[1].version")

	split, err := e.SetSplit(ctx, "", "m", named(2, two.GetDigest()), "")
	check(t, err)
	same, err := e.SetSplit(ctx, "", "m", split.GetArms(), split.GetEtag())
	check(t, err)
	if !proto.Equal(same, split) {
		t.Errorf("what was read and sent back became %v", same)
	}
	// Also when nothing else would change.
	refused(named(2, one.GetDigest()), split.GetEtag(), apierr.InvalidArgument, "arms[1].digest")
	both := named(2, one.GetDigest())
	both[0].Digest = two.GetDigest()
	_, err = e.SetSplit(ctx, "", "m", both, split.GetEtag())
	if got := apierr.From(err).Violations; len(got) != 2 || got[0].Field != "arms[0].digest" || got[1].Field != "arms[1].digest" {
		t.Errorf("two digests are wrong: %v", got)
	}
}

func (s suite) salt(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{Random: bytes.NewReader(append(bytes.Repeat([]byte{0xab}, 16), bytes.Repeat([]byte{0x01}, 16)...))})
	e.model("m")
	e.version("m", 1)
	arms := []*registryv1.Arm{arm("a", 1, store.WholeSplit)}
	split, err := e.SetSplit(t.Context(), "", "m", arms, "")
	check(t, err)
	if want := "abababababababababababababababab"; split.GetSalt() != want {
		t.Errorf("salt %q, want %q", split.GetSalt(), want)
	}
	check(t, e.DeleteSplit(t.Context(), "", "m", split.GetEtag()))
	again, err := e.SetSplit(t.Context(), "", "m", arms, "")
	check(t, err)
	if again.GetSalt() == split.GetSalt() {
		t.Error("a split made anew has the old salt: its subjects would fall as before")
	}
	if _, err := e.SetSplit(t.Context(), "", "m", arms, "x"); err == nil {
		t.Error("randomness that ends is no error")
	}
}
