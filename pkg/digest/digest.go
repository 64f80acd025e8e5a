// Package digest names a model specification by its content. It knows what
// the digest covers and nothing of storage or of the messages that a specification
// comes in; docs/digests.md is the definition that this package follows. Start
// reading at Of.
package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gowebpki/jcs"
	"google.golang.org/protobuf/proto"
)

// Prefix begins every digest; 64 lower-case hexadecimal digits follow.
const Prefix = "sha256:"

// format is a member of every canonical form, so that another definition can
// never make the same bytes.
const format = "poterne.model-spec/1"

// ErrUnknownFields is returned for a specification with fields that this
// program does not know: a digest without them would name something else.
var ErrUnknownFields = errors.New("the specification has fields that this program does not know")

// Artifact is a file of a specification.
type Artifact interface {
	proto.Message
	GetName() string
	GetRole() string
	GetSha256() string
	GetSizeBytes() int64
}

// Adapter is a low-rank adapter of a specification.
type Adapter[A Artifact] interface {
	proto.Message
	GetArtifacts() []A
	GetScale() float64
}

// Spec is a specification of a model, as the contracts have it.
type Spec[T fmt.Stringer, A Artifact, D Adapter[A]] interface {
	proto.Message
	GetTask() T
	GetEngine() string
	GetArtifacts() []A
	GetParameters() map[string]string
	GetContextLength() int32
	GetEmbeddingDimensions() int32
	GetContinuation() bool
	GetPromptTemplate() string
	GetAdapters() []D
}

// document is the object whose canonical form is hashed. Members that are zero
// are left out, so that a field added later does not change older digests.
type document struct {
	Format              string            `json:"format"`
	Task                string            `json:"task"`
	Engine              string            `json:"engine"`
	Artifacts           []artifact        `json:"artifacts,omitempty"`
	Parameters          map[string]string `json:"parameters,omitempty"`
	ContextLength       int32             `json:"context_length,omitempty"`
	EmbeddingDimensions int32             `json:"embedding_dimensions,omitempty"`
	Continuation        bool              `json:"continuation,omitempty"`
	PromptTemplate      string            `json:"prompt_template,omitempty"`
	Adapters            []adapter         `json:"adapters,omitempty"`
}

// adapter has a scale that is always there, since 0 means 1.
type adapter struct {
	Artifacts []artifact `json:"artifacts"`
	Scale     float64    `json:"scale"`
}

// artifact leaves out where the file lies, but not the name it is given: engines
// may find files by it. The size is a text because RFC 8785 has no integers
// above 2^53.
type artifact struct {
	Name      string `json:"name,omitempty"`
	Role      string `json:"role"`
	SHA256    string `json:"sha256"`
	SizeBytes string `json:"size_bytes"`
}

// Of returns the digest of spec: SHA-256 over Canonical(spec), as "sha256:"
// and 64 hexadecimal digits.
func Of[T fmt.Stringer, A Artifact, D Adapter[A]](spec Spec[T, A, D]) (string, error) {
	form, err := Canonical(spec)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(form)
	return Prefix + hex.EncodeToString(sum[:]), nil
}

// Canonical returns the canonical form of spec: the JSON object described in
// docs/digests.md, written as RFC 8785 says.
func Canonical[T fmt.Stringer, A Artifact, D Adapter[A]](spec Spec[T, A, D]) ([]byte, error) {
	if hasUnknown(spec) {
		return nil, ErrUnknownFields
	}
	task, err := taskName(spec.GetTask().String())
	if err != nil {
		return nil, err
	}
	doc := document{
		Format:              format,
		Task:                task,
		Engine:              spec.GetEngine(),
		Parameters:          spec.GetParameters(),
		ContextLength:       spec.GetContextLength(),
		EmbeddingDimensions: spec.GetEmbeddingDimensions(),
		Continuation:        spec.GetContinuation(),
		PromptTemplate:      spec.GetPromptTemplate(),
		Artifacts:           artifacts(spec.GetArtifacts()),
	}
	for _, a := range spec.GetAdapters() {
		one := adapter{Artifacts: artifacts(a.GetArtifacts()), Scale: a.GetScale()}
		if one.Scale == 0 {
			one.Scale = 1
		}
		doc.Adapters = append(doc.Adapters, one)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("canonical form: %w", err)
	}
	form, err := jcs.Transform(raw)
	if err != nil {
		return nil, fmt.Errorf("canonical form: %w", err)
	}
	return form, nil
}

// taskName keeps the names apart from the enum's, which are part of the API.
func taskName(enum string) (string, error) {
	switch enum {
	case "TASK_CHAT":
		return "chat", nil
	case "TASK_EMBEDDING":
		return "embedding", nil
	case "TASK_TENSOR":
		return "tensor", nil
	case "TASK_RERANK":
		return "rerank", nil
	case "TASK_UNSPECIFIED":
		return "", errors.New("the task is not said")
	default:
		return "", fmt.Errorf("the task %s is not known", strings.TrimPrefix(enum, "TASK_"))
	}
}

func artifacts[A Artifact](list []A) (out []artifact) {
	for _, a := range list {
		out = append(out, artifact{
			Name: a.GetName(), Role: role(a.GetRole()), SHA256: a.GetSha256(), SizeBytes: strconv.FormatInt(a.GetSizeBytes(), 10),
		})
	}
	return out
}

func role(said string) string {
	if said == "" {
		return "weights"
	}
	return said
}

func hasUnknown[T fmt.Stringer, A Artifact, D Adapter[A]](spec Spec[T, A, D]) bool {
	messages := []proto.Message{spec}
	for _, a := range spec.GetArtifacts() {
		messages = append(messages, a)
	}
	for _, adapter := range spec.GetAdapters() {
		messages = append(messages, adapter)
		for _, a := range adapter.GetArtifacts() {
			messages = append(messages, a)
		}
	}
	for _, m := range messages {
		if len(m.ProtoReflect().GetUnknown()) > 0 {
			return true
		}
	}
	return false
}
