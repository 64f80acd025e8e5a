package declare

import (
	"encoding/json"
	"fmt"
	"maps"
)

// AsDocument returns what the registry answered, of a kind, as a document that changes
// nothing when it is applied. What of the answer no document can say stands in it
// under status. Of a Prompt, the answer holds its versions besides, as the registry
// answers each of them.
func AsDocument(kind string, answer map[string]any) (any, error) {
	raw, err := json.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("the answer: %w", err)
	}
	r := ofKind(kind)
	if r == nil {
		return nil, fmt.Errorf("there is no kind %q", kind)
	}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("the answer is no %s: %w", kind, err)
	}
	status := maps.Clone(answer)
	switch d := r.(type) {
	case *prompt:
		d.Kind = kind
		d.Status, err = d.fill(raw, status)
	case *model:
		d.Kind, d.Task = kind, bare(d.Task, "TASK_")
		d.Status = without(status, "name", "display_name", "task", "tenant", "owner", "licence", "card", "labels")
	case *version:
		d.Kind = kind
		d.Spec.plain()
		for i := range d.Variants {
			d.Variants[i].Spec.plain()
		}
		d.Status = without(status, "model", "number", "digest", "description", "licence", "labels", "metrics", "lineage", "io_schema", "spec", "variants")
	case *alias:
		d.Kind, d.Status = kind, without(status, "model", "name", "version")
	case *protection:
		d.Kind, d.Status = kind, without(status, "model", "protected")
	case *split:
		d.Kind, d.Status = kind, without(status, "model", "salt", "arms")
		for i := range d.Arms {
			d.Arms[i].Weight = orZero(d.Arms[i].Weight)
		}
	case *experiment:
		d.Kind = kind
		d.plain()
		d.Status = without(status, "model", "name", "description", "arms", "targeting", "layer", "share", "priority", "sticky_by",
			"overrides", "shadow", "state", "winner", "reason", "salt", "layer_salt")
		if d.State != stateStopped && d.State != stateConcluded {
			d.Reason = "" // of an earlier stop
		}
	case *rollout:
		d.Kind = kind
		d.Status = without(status, "model", "name", "candidate", "baseline", "alias", "description", "labels", "shadow", "steps", "guardrails")
	}
	return r, err
}

func ofKind(name string) resource {
	for _, k := range kinds() {
		if k.name == name {
			return k.make()
		}
	}
	return nil
}

// without removes fields; nil when nothing is left.
func without(status map[string]any, fields ...string) any {
	for _, f := range fields {
		delete(status, f)
	}
	if len(status) == 0 {
		return nil
	}
	return Numbers(status)
}

// Numbers turns json.Number into numbers, which a YAML writer would quote.
func Numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64()
		return f
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = Numbers(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = Numbers(v[k])
		}
		return out
	}
	return v
}

func (s *spec) plain() { s.Task = bare(s.Task, "TASK_") }

// fill takes a prompt's versions and aliases from the answer.
func (d *prompt) fill(raw []byte, status map[string]any) (any, error) {
	var answer struct {
		Aliases  []promptAlias `json:"aliases"`
		Versions []struct {
			promptVersion
			Spec promptVersion `json:"spec"`
		} `json:"versions"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, fmt.Errorf("the answer is no Prompt: %w", err)
	}
	for _, v := range answer.Versions {
		v.Messages, v.Variables = v.Spec.Messages, v.Spec.Variables
		d.Versions = append(d.Versions, v.promptVersion)
	}
	d.Aliases = make(map[string]ref, len(answer.Aliases))
	for _, a := range answer.Aliases {
		d.Aliases[a.Name] = ref(fmt.Sprint(a.Version))
	}
	return without(status, "name", "aliases", "versions"), nil
}
