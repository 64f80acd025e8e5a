package respcache

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// Key names an answer. Two requests have one key only when nothing that the answer
// depends on, and nobody who may see it, differs.
type Key [sha256.Size]byte

// Scope is what an answer depends on besides the request itself.
type Scope struct {
	// Tenant is the caller's. Subject is too, where callers of a tenant share nothing.
	Tenant, Subject string
	// Operation is the method: an answer of one is none of another.
	Operation string
	// Policy is the version of the policy that allowed the request, and Redact what it
	// asks of the detectors; they are configured as Detectors says.
	Policy    string
	Redact    bool
	Detectors string
	// Classes is which documents the policy lets the request see, and Verdicts which
	// versions may answer it: rules can ask for what is neither in the caller's name nor
	// in their roles, such as the address or the hour.
	Classes, Verdicts string
	// Model, Digest, Experiment, Arm, Variants and PromptDigest are what would answer.
	Model, Digest, Experiment, Arm, PromptDigest string
	Variants                                     []string
	// Collection is what passages are from, in the state Generation, which Principals
	// may read.
	Collection, Generation string
	Principals             []string
	// Purged is the number of purges that the answer is made after.
	Purged string
}

// scheme is the form of keys, and changes with it.
const scheme = "poterne response cache 2"

// fields writes values of which none can run into the next.
type fields struct {
	hash.Hash
	n [8]byte
}

func (f *fields) number(n int) {
	binary.BigEndian.PutUint64(f.n[:], uint64(n))
	f.Write(f.n[:])
}

func (f *fields) bytes(b []byte) {
	f.number(len(b))
	f.Write(b)
}

func (f *fields) text(s string) { f.bytes([]byte(s)) }

func (f *fields) list(items []string) {
	f.number(len(items))
	for _, s := range items {
		f.text(s)
	}
}

func (s *Scope) hash() *fields {
	f := &fields{Hash: sha256.New()}
	f.text(scheme)
	redact := ""
	if s.Redact {
		redact = "redact"
	}
	for _, v := range []string{
		s.Tenant, s.Subject, s.Operation, s.Policy, redact, s.Detectors, s.Classes, s.Verdicts, s.Model, s.Digest, s.Experiment, s.Arm, s.PromptDigest,
		s.Collection, s.Generation, s.Purged,
	} {
		f.text(v)
	}
	f.list(s.Variants)
	f.list(slices.Sorted(slices.Values(s.Principals)))
	return f
}

// KeyOf returns the key of a request's answer. The request is read, not changed.
func KeyOf(s *Scope, req proto.Message) (Key, error) {
	norm, err := normal(req)
	if err != nil {
		return Key{}, err
	}
	f := s.hash()
	f.bytes(norm)
	return Key(f.Sum(nil)), nil
}

// KeysOfParts returns the keys of the parts of an answer, such as the vectors of
// several inputs.
func KeysOfParts(s *Scope, req proto.Message, parts [][]byte) ([]Key, error) {
	norm, err := normal(req)
	if err != nil {
		return nil, err
	}
	out := make([]Key, len(parts))
	for i, part := range parts {
		f := s.hash()
		f.bytes(norm)
		f.bytes(part)
		out[i] = Key(f.Sum(nil))
	}
	return out, nil
}

// normal returns a request as bytes that are the same for all that mean the same,
// less what does not touch the answer: under which name the model was asked for,
// since Scope says what that leads to; whether it comes as a stream; and what is
// asked of the cache. The encoding is read back to one message only, so that no two
// messages share it.
func normal(req proto.Message) ([]byte, error) {
	m := proto.Clone(req)
	switch r := m.(type) {
	case *edgev1.CreateChatCompletionRequest:
		r.Model, r.Stream, r.Cache, r.StreamOptions = "", nil, nil, options(r.GetStreamOptions())
		r.Stop = stops(r.GetStop())
		if p := r.GetPrompt(); p != nil {
			p.Version = "" // which that is, the digest says
		}
	case *edgev1.CreateCompletionRequest:
		r.Model, r.Stream, r.Cache, r.StreamOptions = "", nil, nil, options(r.GetStreamOptions())
		r.Stop = stops(r.GetStop())
	case *edgev1.CreateEmbeddingRequest:
		// How vectors are written is no matter of theirs, and each has its own key.
		r.Model, r.Cache, r.Input, r.EncodingFormat, r.User = "", nil, nil, "", "" // the user is not told to the engine
	default:
		return nil, fmt.Errorf("respcache: %s has no key", m.ProtoReflect().Descriptor().FullName())
	}
	canonical(m.ProtoReflect())
	out, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("respcache: make a key: %w", err)
	}
	return out, nil
}

func options(o *edgev1.StreamOptions) *edgev1.StreamOptions {
	if o == nil || len(o.GetExtra()) == 0 && len(o.ProtoReflect().GetUnknown()) == 0 {
		return nil
	}
	o.IncludeUsage = nil
	return o
}

// stops returns stop sequences in one form: one alone is a list of one, and neither
// order nor repetition says anything.
func stops(s *edgev1.StopSequences) *edgev1.StopSequences {
	var list []string
	switch v := s.GetStop().(type) {
	case *edgev1.StopSequences_Text:
		list = []string{v.Text}
	case *edgev1.StopSequences_List:
		list = slices.Compact(slices.Sorted(slices.Values(v.List.GetSequences())))
	default:
		return s
	}
	return &edgev1.StopSequences{Stop: &edgev1.StopSequences_List{List: &edgev1.StopSequenceList{Sequences: list}}}
}

// canonical puts the JSON texts within a message into one form.
func canonical(m protoreflect.Message) {
	if raw, ok := m.Interface().(*commonv1.RawJson); ok {
		raw.Json = canonicalJSON(raw.GetJson())
		return
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			if extra, _ := proto.GetExtension(fd.Options(), commonv1.E_JsonExtra).(bool); extra {
				texts := v.Map()
				texts.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
					texts.Set(k, protoreflect.ValueOfString(canonicalJSON(v.String())))
					return true
				})
			}
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				canonical(v.List().Get(i).Message())
			}
		default:
			canonical(v.Message())
		}
		return true
	})
}

// canonicalJSON returns JSON with the members of objects in order and without
// spaces; numbers stay as they were written. What it cannot read, and objects that
// have a member twice, stay as they are.
func canonicalJSON(text string) string {
	v := jsontext.Value(text)
	if err := v.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)); err != nil {
		return text
	}
	return string(v)
}
