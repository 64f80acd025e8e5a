package declare

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
)

// patch returns what has to be sent for what is said of a version to be as the
// document says, and notes both sides; nothing when nothing differs.
func (v *version) patch(there *version, before, after map[string]any) map[string]any {
	out := map[string]any{}
	for _, f := range []struct {
		field      string
		wanted, is *string
	}{{"description", v.Description, there.Description}, {"licence", v.Licence, there.Licence}} {
		if f.wanted == nil {
			continue
		}
		before[f.field], after[f.field] = deref(f.is), *f.wanted
		if deref(f.is) != *f.wanted {
			out[f.field] = *f.wanted
		}
	}
	patchMap(out, before, after, "labels", v.Labels, values(there.Labels))
	patchMap(out, before, after, "metrics", v.Metrics, values(there.Metrics))
	if v.Lineage != nil {
		before["lineage"], after["lineage"] = deref(there.Lineage), *v.Lineage
		if deref(there.Lineage) != *v.Lineage {
			out["lineage"] = v.Lineage
		}
	}
	if v.IOSchema != nil {
		before["io_schema"], after["io_schema"] = deref(there.IOSchema), *v.IOSchema
		if !reflect.DeepEqual(deref(there.IOSchema), *v.IOSchema) {
			out["io_schema"] = v.IOSchema
		}
	}
	return out
}

func values[V any](named map[string]*V) map[string]V {
	out := make(map[string]V, len(named))
	for name, value := range named {
		out[name] = deref(value)
	}
	return out
}

func patchMap[V comparable](out, before, after map[string]any, field string, wanted map[string]*V, there map[string]V) {
	if len(wanted) == 0 {
		return
	}
	is, shall, remove := merged(wanted, there)
	before[field], after[field] = is, shall
	if len(remove) > 0 {
		out["remove_"+field] = remove
	}
	if !reflect.DeepEqual(is, shall) {
		out[field] = shall
	}
}

// variant declares another form of a version's weights. What it is never changes;
// its description goes with one that is made.
type variant struct {
	Name        string   `yaml:"name" json:"name"`
	Digest      string   `yaml:"digest,omitempty" json:"digest"`
	Description string   `yaml:"description,omitempty" json:"description"`
	Quality     *quality `yaml:"quality,omitempty" json:"quality"`
	Spec        spec     `yaml:"spec" json:"spec"`
}

// quality is how good a variant is.
type quality struct {
	Perplexity            float64 `yaml:"perplexity,omitempty" json:"perplexity,omitempty"`
	PerplexityError       float64 `yaml:"perplexity_error,omitempty" json:"perplexity_error,omitempty"`
	SourcePerplexity      float64 `yaml:"source_perplexity,omitempty" json:"source_perplexity,omitempty"`
	SourcePerplexityError float64 `yaml:"source_perplexity_error,omitempty" json:"source_perplexity_error,omitempty"`
	Source                string  `yaml:"source,omitempty" json:"source,omitempty"`
	TextSHA256            string  `yaml:"text_sha256,omitempty" json:"text_sha256,omitempty"`
	Tokens                wide    `yaml:"tokens,omitempty" json:"tokens,omitempty"`
	Window                int     `yaml:"window,omitempty" json:"window,omitempty"`
	Loss                  float64 `yaml:"loss,omitempty" json:"loss,omitempty"`
}

// planVariants returns the variants that have to be made or measured anew, as the
// API takes them, and notes both sides.
func (v *version) planVariants(ctx context.Context, p *planner, there *version, before, after map[string]any) ([]map[string]any, error) {
	if len(v.Variants) == 0 {
		return nil, nil
	}
	are := make(map[string]variant, len(there.Variants))
	for _, other := range there.Variants {
		are[other.Name] = other
	}
	var out []map[string]any
	shown := [2]map[string]any{{}, {}}
	for i := range v.Variants {
		wanted := &v.Variants[i]
		field := fmt.Sprintf("variants[%d]", i)
		body, err := wanted.Spec.body(field+".spec", v.dir)
		if err != nil {
			return nil, err
		}
		digest, _, err := p.resolve(ctx, v.Model, body)
		if err != nil {
			return nil, err
		}
		if err := fixed(field+".digest", wanted.Digest, digest, "it is computed from the specification"); err != nil {
			return nil, err
		}
		is, found := are[wanted.Name]
		if found && is.Digest != digest {
			return nil, fmt.Errorf("%s.spec cannot be changed by a file: the variant %q is %s, and what a variant is never changes; give the new one another name, or delete this one",
				field, wanted.Name, is.Digest)
		}
		measured := asSpoken(is.Quality, wanted.Quality)
		same := wanted.Quality == nil || measured != nil && *wanted.Quality == *measured
		shown[1][wanted.Name] = variantView(digest, wanted.Quality)
		if found {
			shown[0][wanted.Name] = variantView(digest, measured)
		}
		if !found || !same {
			send := map[string]any{"variant": wanted.Name, "spec": body, "description": wanted.Description}
			if wanted.Quality != nil {
				send["quality"] = wanted.Quality
			}
			out = append(out, send)
		}
	}
	before["variants"], after["variants"] = shown[0], shown[1]
	return out, nil
}

// asSpoken is the quality that is there as far as a document speaks of it: the
// registry computes a loss that was not given.
func asSpoken(is, wanted *quality) *quality {
	if is == nil || wanted == nil {
		return nil
	}
	out := *is
	if wanted.Loss == 0 {
		out.Loss = 0
	}
	return &out
}

func variantView(digest string, q *quality) map[string]any {
	out := map[string]any{"digest": digest}
	if q != nil {
		out["quality"] = *q
	}
	return out
}

func (v *version) addVariants(ctx context.Context, p *planner, variants []map[string]any) error {
	for _, body := range variants {
		err := p.registry.Send(ctx, http.MethodPost, path(v.Model, "versions", strconv.Itoa(v.number), "variants"), body, nil)
		if err != nil {
			return fmt.Errorf("variant %v: %w", body["variant"], err)
		}
	}
	return nil
}
