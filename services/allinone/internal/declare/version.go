package declare

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strconv"
)

// version declares a version of a model. Its name is how other documents of the
// same run refer to it; the registry does not keep it. What the version is never
// changes; what is said of it does. A label or a metric that is null is removed.
type version struct {
	Kind  string `yaml:"kind" json:"-"`
	Model string `yaml:"model" json:"model"`
	Name  string `yaml:"name,omitempty" json:"-"`
	// Number and Digest are the registry's: a document may only repeat them.
	Number      int                 `yaml:"number,omitempty" json:"number"`
	Digest      string              `yaml:"digest,omitempty" json:"digest"`
	Description *string             `yaml:"description,omitempty" json:"description"`
	Licence     *string             `yaml:"licence,omitempty" json:"licence"`
	Labels      map[string]*string  `yaml:"labels,omitempty" json:"labels"`
	Metrics     map[string]*float64 `yaml:"metrics,omitempty" json:"metrics"`
	Lineage     *lineage            `yaml:"lineage,omitempty" json:"lineage"`
	IOSchema    *ioSchema           `yaml:"io_schema,omitempty" json:"io_schema"`
	Spec        spec                `yaml:"spec" json:"spec"`
	Variants    []variant           `yaml:"variants,omitempty" json:"variants"`
	Status      any                 `yaml:"status,omitempty" json:"-"`

	dir string
	// What the registry said, or what was made.
	digest string
	number int
}

// lineage is where a version comes from.
type lineage struct {
	ParentVersion  int    `yaml:"parent_version,omitempty" json:"parent_version,omitempty"`
	ParentDigest   string `yaml:"parent_digest,omitempty" json:"parent_digest,omitempty"`
	TrainingRunURI string `yaml:"training_run_uri,omitempty" json:"training_run_uri,omitempty"`
}

// ioSchema is what a version takes and gives.
type ioSchema struct {
	InputJSONSchema  string         `yaml:"input_json_schema,omitempty" json:"input_json_schema,omitempty"`
	OutputJSONSchema string         `yaml:"output_json_schema,omitempty" json:"output_json_schema,omitempty"`
	Inputs           []tensorSchema `yaml:"inputs,omitempty" json:"inputs,omitempty"`
	Outputs          []tensorSchema `yaml:"outputs,omitempty" json:"outputs,omitempty"`
}

type tensorSchema struct {
	Name     string `yaml:"name" json:"name"`
	Datatype string `yaml:"datatype" json:"datatype"`
	Shape    []wide `yaml:"shape,omitempty" json:"shape,omitempty"`
}

// versionLike are names that a reference takes for a version's number or digest.
var versionLike = regexp.MustCompile(`^(v?[0-9]+|sha256:.*)$`)

func (v *version) id() string {
	switch {
	case v.Name != "":
		return "version " + v.Model + "/" + v.Name
	case v.Number > 0:
		return "version " + v.Model + "/" + strconv.Itoa(v.Number)
	}
	raw, _ := json.Marshal(v.Spec)
	sum := sha256.Sum256(append(raw, v.dir...))
	return "version " + v.Model + "/unnamed-" + hex.EncodeToString(sum[:4])
}

func (v *version) check() string {
	switch {
	case v.Model == "":
		return "a Version needs a model"
	case versionLike.MatchString(v.Name):
		return fmt.Sprintf("the name %q would be taken for a version's number or digest", v.Name)
	}
	if problem := v.Spec.check("spec"); problem != "" {
		return problem
	}
	seen := map[string]bool{}
	for i, variant := range v.Variants {
		field := fmt.Sprintf("variants[%d]", i)
		if variant.Name == "" || seen[variant.Name] {
			return field + " needs a name of its own"
		}
		seen[variant.Name] = true
		if problem := variant.Spec.check(field + ".spec"); problem != "" {
			return problem
		}
	}
	return ""
}

// resolve asks the registry what a specification is: its digest, and the version
// that has it.
func (p *planner) resolve(ctx context.Context, model string, body map[string]any) (digest string, there *version, err error) {
	var answer struct {
		Digest  string   `json:"digest"`
		Version *version `json:"version"`
	}
	err = p.registry.Send(ctx, http.MethodPost, path(model, "versions")+":resolve", map[string]any{"spec": body}, &answer)
	return answer.Digest, answer.Version, err
}

func (v *version) plan(ctx context.Context, p *planner) (*Change, error) {
	body, err := v.Spec.body("spec", v.dir)
	if err != nil {
		return nil, err
	}
	digest, there, err := p.resolve(ctx, v.Model, body)
	if err != nil {
		return nil, err
	}
	if err := fixed("digest", v.Digest, digest, "it is computed from spec"); err != nil {
		return nil, err
	}
	v.digest = digest
	said := v.said()
	after := map[string]any{"model": v.Model, "digest": digest, "spec": body}
	if there == nil {
		return v.planNew(ctx, p, body, said, after)
	}
	v.number = there.Number
	if v.Number != 0 && v.Number != there.Number {
		return nil, fmt.Errorf("number cannot be changed by a file: what spec says is version %d of %s", there.Number, v.Model)
	}
	before := map[string]any{"model": v.Model, "digest": digest, "spec": body}
	patch := v.patch(there, before, after)
	variants, err := v.planVariants(ctx, p, there, before, after)
	if err != nil {
		return nil, err
	}
	c := &Change{apply: func(ctx context.Context) error {
		if len(patch) > 0 {
			if err := p.registry.Send(ctx, http.MethodPatch, path(v.Model, "versions", strconv.Itoa(v.number)), patch, nil); err != nil {
				return err
			}
		}
		return v.addVariants(ctx, p, variants)
	}}
	return c.both(before, after)
}

// planNew plans a version that is not there.
func (v *version) planNew(ctx context.Context, p *planner, body, said, after map[string]any) (*Change, error) {
	if v.Number != 0 {
		var other version
		found, err := p.registry.Get(ctx, path(v.Model, "versions", strconv.Itoa(v.Number)), &other)
		if err != nil {
			return nil, err
		}
		if found {
			return nil, fmt.Errorf("spec cannot be changed by a file: version %d of %s is %s, and what a version is never changes; leave out number and digest to have a new one made",
				v.Number, v.Model, other.Digest)
		}
	}
	before := map[string]any{}
	variants, err := v.planVariants(ctx, p, &version{}, before, after)
	if err != nil {
		return nil, err
	}
	maps.Copy(after, said)
	c := &Change{apply: func(ctx context.Context) error {
		said["spec"] = body
		var made struct {
			Number int `json:"number"`
		}
		if err := p.registry.Send(ctx, http.MethodPost, path(v.Model, "versions"), said, &made); err != nil {
			return err
		}
		v.number = made.Number
		if err := v.addVariants(ctx, p, variants); err != nil {
			return err
		}
		if v.Number != 0 && v.Number != made.Number {
			return fmt.Errorf("it was made as version %d, not %d: the registry gives the numbers; leave number out", made.Number, v.Number)
		}
		return nil
	}}
	return c.both(nil, after)
}

// said is what a document says of a version, besides what it is.
func (v *version) said() map[string]any {
	out := map[string]any{}
	if v.Description != nil {
		out["description"] = *v.Description
	}
	if v.Licence != nil {
		out["licence"] = *v.Licence
	}
	if _, labels, _ := merged(v.Labels, nil); len(labels) > 0 {
		out["labels"] = labels
	}
	if _, metrics, _ := merged(v.Metrics, nil); len(metrics) > 0 {
		out["metrics"] = metrics
	}
	if v.Lineage != nil {
		out["lineage"] = v.Lineage
	}
	if v.IOSchema != nil {
		out["io_schema"] = v.IOSchema
	}
	return out
}
