package fakes

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Engine is the kind of engine that Model's versions need.
const Engine = "sim"

// Digest returns a digest made from a text.
func Digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// VersionDigest is the digest of a version made by Model.
func VersionDigest(model string, number int) string {
	return Digest(fmt.Sprintf("%s@v%d", model, number))
}

// Change changes a model's state while it is made.
type Change func(*registryv1.ModelState)

// Model returns a chat model with versions 1 to n.
func Model(name string, n int, changes ...Change) *registryv1.ModelState {
	m := &registryv1.ModelState{Model: &registryv1.Model{Name: name}}
	for i := 1; i <= n; i++ {
		m.Versions = append(m.Versions, &registryv1.Version{
			Model: name, Number: int32(i), Digest: VersionDigest(name, i),
			Spec: &commonv1.ModelSpec{Task: commonv1.Task_TASK_CHAT, Engine: Engine, ContextLength: 4096},
		})
	}
	for _, c := range changes {
		c(m)
	}
	return m
}

// Embedding makes every version an embedding model.
func Embedding() Change {
	return func(m *registryv1.ModelState) {
		for _, v := range m.GetVersions() {
			v.Spec.Task, v.Spec.EmbeddingDimensions = commonv1.Task_TASK_EMBEDDING, 4
		}
	}
}

// Reranking makes every version a reranking model.
func Reranking() Change {
	return func(m *registryv1.ModelState) {
		for _, v := range m.GetVersions() {
			v.Spec.Task = commonv1.Task_TASK_RERANK
		}
	}
}

// Tensors makes every version a model of tensors.
func Tensors() Change {
	return func(m *registryv1.ModelState) {
		for _, v := range m.GetVersions() {
			v.Spec.Task = commonv1.Task_TASK_TENSOR
		}
	}
}

// Alias points an alias at a version.
func Alias(name string, version int) Change {
	return func(m *registryv1.ModelState) {
		m.Aliases = append(m.Aliases, &registryv1.Alias{
			Model: m.GetModel().GetName(), Name: name, Version: int32(version),
		})
	}
}

// Split adds an arm; weights are in millionths.
func Split(arm string, version, weight int) Change {
	return func(m *registryv1.ModelState) {
		if m.Split == nil {
			m.Split = &registryv1.Split{Model: m.GetModel().GetName(), Salt: "salt"}
		}
		m.Split.Arms = append(m.Split.Arms, &registryv1.Arm{
			Name: arm, Version: int32(version), Weight: int32(weight),
		})
	}
}

// VariantDigest is the digest of a variant made by Variant.
func VariantDigest(model string, number int, variant string) string {
	return Digest(fmt.Sprintf("%s@v%d/%s", model, number, variant))
}

// Variant adds a variant of so many bytes to a version. A loss below 0 was not
// measured.
func Variant(version int, name string, bytes int64, loss float64) Change {
	return func(m *registryv1.ModelState) {
		v := m.GetVersions()[version-1]
		one := &registryv1.Variant{
			Model: v.GetModel(), Version: v.GetNumber(), Name: name, Digest: VariantDigest(v.GetModel(), version, name),
			Spec: &commonv1.ModelSpec{
				Task: v.GetSpec().GetTask(), Engine: Engine, ContextLength: v.GetSpec().GetContextLength(),
				Artifacts: []*commonv1.Artifact{{SizeBytes: bytes}},
			},
			SizeBytes: bytes,
		}
		if loss >= 0 {
			one.Quality = &registryv1.Quality{Loss: loss}
		}
		v.Variants = append(v.Variants, one)
	}
}

// Sized makes every version's own weights so many bytes.
func Sized(bytes int64) Change {
	return func(m *registryv1.ModelState) {
		for _, v := range m.GetVersions() {
			v.Spec.Artifacts = []*commonv1.Artifact{{SizeBytes: bytes}}
		}
	}
}

// Label sets a label of the model.
func Label(name, value string) Change {
	return func(m *registryv1.ModelState) {
		if m.Model.Labels == nil {
			m.Model.Labels = make(map[string]string)
		}
		m.Model.Labels[name] = value
	}
}
