package catalog

import (
	"crypto/sha256"
	"testing"

	"google.golang.org/protobuf/proto"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

func state(name string) *registryv1.ModelState {
	return &registryv1.ModelState{Model: &registryv1.Model{Name: name}}
}

func changed(revision int64, name string) *registryv1.WatchResponse {
	return &registryv1.WatchResponse{Revision: revision, Event: &registryv1.WatchResponse_Changed{Changed: state(name)}}
}

func part(revision int64, p *registryv1.SnapshotPart) *registryv1.WatchResponse {
	return &registryv1.WatchResponse{Revision: revision, Event: &registryv1.WatchResponse_Snapshot{Snapshot: p}}
}

// TestBuilderRefuses: a stream that does not keep to the contract ends, rather
// than leaving a state that is half right.
func TestBuilderRefuses(t *testing.T) {
	t.Parallel()
	whole := part(1, &registryv1.SnapshotPart{First: true, Last: true})
	for name, stream := range map[string][]*registryv1.WatchResponse{
		"a change before any snapshot": {changed(1, "a")},
		"a part without the first":     {part(1, &registryv1.SnapshotPart{Last: true})},
		"a change inside a snapshot":   {part(1, &registryv1.SnapshotPart{First: true}), changed(2, "a")},
		"a model without a name":       {whole, changed(2, "")},
		"an event of an unknown kind":  {whole, {Revision: 2}},
	} {
		var b builder
		var err error
		for _, msg := range stream {
			if _, err = b.apply(msg); err != nil {
				break
			}
		}
		if err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestBuilderVoidsWhatWasKnown(t *testing.T) {
	t.Parallel()
	b := builder{base: NewSnapshot(3, []*registryv1.ModelState{state("old")})}
	old := b.base
	if s, err := b.apply(part(9, &registryv1.SnapshotPart{First: true, Models: []*registryv1.ModelState{state("a")}})); s != nil || err != nil {
		t.Fatalf("a part that is not the last gave %v, %v", s, err)
	}
	s, err := b.apply(part(9, &registryv1.SnapshotPart{Last: true, Models: []*registryv1.ModelState{state("b")}}))
	if err != nil || s.Len() != 2 || s.Revision() != 9 {
		t.Fatalf("the snapshot is %v, %v", s, err)
	}
	if _, ok := s.Model("old"); ok {
		t.Error("what was known before is still there")
	}
	if _, ok := old.Model("old"); !ok || old.Len() != 1 {
		t.Error("the old snapshot was changed")
	}
}

func FuzzDecode(f *testing.F) {
	good, err := encode(NewSnapshot(3, []*registryv1.ModelState{state("a"), state("b")}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(fileMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decode(data)
		if err == nil && s == nil {
			// A snapshot that is not whole decodes to nothing.
			return
		}
		if err != nil {
			// The checksum keeps nearly all inputs out: try the body too.
			sum := sha256.Sum256(data)
			s, err = decode(append(append([]byte(fileMagic), sum[:]...), data...))
			if err != nil || s == nil {
				return
			}
		}
		again, err := encode(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decode(again)
		if err != nil || back.Revision() != s.Revision() || back.Len() != s.Len() {
			t.Fatalf("a snapshot of %d models at %d came back as %v, %v", s.Len(), s.Revision(), back, err)
		}
		for _, name := range s.names {
			if !proto.Equal(s.models[name].State, back.models[name].State) {
				t.Fatalf("model %q came back changed", name)
			}
		}
	})
}
