package declare

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

const wholeSplit = 1_000_000

// ref names a version as a document does: by number, digest or the name of a
// Version document.
type ref string

// UnmarshalJSON reads the number that the registry gives.
func (r *ref) UnmarshalJSON(raw []byte) error {
	*r = ref(strings.Trim(string(raw), `"`))
	return nil
}

// MarshalYAML writes a number as one.
func (r ref) MarshalYAML() (any, error) {
	if n, err := strconv.Atoi(string(r)); err == nil {
		return n, nil
	}
	return string(r), nil
}

func (r ref) text() string { return string(r) }

// target is a version that an alias or an arm names: by number, by digest, or by
// the name of a Version document of the same model.
type target struct {
	digest string
	// number is known when a change is made; a version may be made just before.
	number func() int
}

func (p *planner) target(ctx context.Context, model, ref string) (target, error) {
	if v, ok := p.versions[model+"/"+ref]; ok {
		return target{v.digest, func() int { return v.number }}, nil
	}
	if !versionLike.MatchString(ref) {
		return target{}, fmt.Errorf("no Version document of %s has the name %q", model, ref)
	}
	var there struct {
		Number int    `json:"number"`
		Digest string `json:"digest"`
	}
	found, err := p.registry.Get(ctx, path(model, "versions", ref), &there)
	if err == nil && !found {
		err = fmt.Errorf("%s has no version %s", model, ref)
	}
	return target{there.Digest, func() int { return there.Number }}, err
}

// alias declares what an alias names.
type alias struct {
	Kind    string `yaml:"kind" json:"-"`
	Model   string `yaml:"model" json:"model"`
	Name    string `yaml:"name" json:"name"`
	Version ref    `yaml:"version" json:"version"`
	Status  any    `yaml:"status,omitempty" json:"-"`
}

func (a *alias) id() string { return "alias " + a.Model + "/" + a.Name }

func (a *alias) check() string {
	if a.Model == "" || a.Name == "" || a.Version.text() == "" {
		return "an Alias needs a model, a name and a version"
	}
	return ""
}

func (a *alias) plan(ctx context.Context, p *planner) (*Change, error) {
	var there struct {
		Digest string `json:"digest"`
		Etag   string `json:"etag"`
	}
	found, err := p.get(ctx, a.Model, path(a.Model, "aliases", a.Name), &there)
	if err != nil {
		return nil, err
	}
	to, err := p.target(ctx, a.Model, a.Version.text())
	if err != nil {
		return nil, err
	}
	view := func(digest string) any {
		return map[string]any{"model": a.Model, "name": a.Name, "version": digest}
	}
	c := &Change{}
	c.apply = func(ctx context.Context) error {
		var answer struct {
			Pending string `json:"pending_change"`
		}
		err := p.registry.Send(ctx, http.MethodPut, path(a.Model, "aliases", a.Name),
			map[string]any{"version": to.number(), "etag": there.Etag}, &answer)
		c.Waiting = answer.Pending
		return err
	}
	if !found {
		return c.both(nil, view(to.digest))
	}
	return c.both(view(there.Digest), view(to.digest))
}

// split declares how a model's traffic is divided.
type split struct {
	Kind  string `yaml:"kind" json:"-"`
	Model string `yaml:"model" json:"model"`
	// Salt is the registry's: a document may only repeat it.
	Salt   string `yaml:"salt,omitempty" json:"salt"`
	Arms   []arm  `yaml:"arms" json:"arms"`
	Status any    `yaml:"status,omitempty" json:"-"`
}

// arm has a share in percent with up to four decimals, or in millionths.
type arm struct {
	Name    string    `yaml:"name" json:"name"`
	Version ref       `yaml:"version" json:"version"`
	Prompt  armPrompt `yaml:"prompt,omitempty" json:"prompt"`
	Percent string    `yaml:"percent,omitempty" json:"-"`
	Weight  *int      `yaml:"weight,omitempty" json:"weight"`
}

func (s *split) id() string { return "split " + s.Model }

func (s *split) check() string {
	if s.Model == "" || len(s.Arms) == 0 {
		return "a Split needs a model and arms"
	}
	total := 0
	for i, a := range s.Arms {
		weight, err := share(a.Percent, a.Weight)
		if err != nil || a.Name == "" || a.Version == "" {
			return fmt.Sprintf("arms[%d] needs a name, a version, and either percent, such as 12.5, or weight in millionths", i)
		}
		if why := a.Prompt.wrong(); why != "" {
			return fmt.Sprintf("arms[%d].%s", i, why)
		}
		total += weight
	}
	if total != wholeSplit {
		return fmt.Sprintf("the arms' shares must add up to 100 percent, they add up to %g", float64(total)/10_000)
	}
	return ""
}

// share is a part of the traffic in millionths, given as percent or as weight.
func share(percent string, weight *int) (int, error) {
	if (weight == nil) == (percent == "") {
		return 0, fmt.Errorf("one of percent and weight")
	}
	if weight != nil {
		if *weight < 0 || *weight > wholeSplit {
			return 0, fmt.Errorf("weight")
		}
		return *weight, nil
	}
	// Decimals are read as they are written: a float would round them.
	whole, decimals, _ := strings.Cut(strings.TrimSuffix(percent, "%"), ".")
	if len(decimals) > 4 || whole == "" || strings.ContainsAny(whole+decimals, "+-") {
		return 0, fmt.Errorf("percent")
	}
	n, err := strconv.Atoi(whole + decimals + strings.Repeat("0", 4-len(decimals)))
	if err == nil && n > wholeSplit {
		err = fmt.Errorf("percent")
	}
	return n, err
}

// armView is an arm as people compare it.
type armView struct {
	Name    string    `yaml:"name" json:"name"`
	Version string    `yaml:"version" json:"digest"`
	Prompt  armPrompt `yaml:"prompt,omitempty" json:"prompt"`
	Weight  int       `yaml:"weight" json:"weight"`
}

func (s *split) plan(ctx context.Context, p *planner) (*Change, error) {
	var there struct {
		Etag string    `json:"etag"`
		Salt string    `json:"salt"`
		Arms []armView `json:"arms"`
	}
	found, err := p.get(ctx, s.Model, path(s.Model, "split"), &there)
	if err != nil {
		return nil, err
	}
	if err := fixed("salt", s.Salt, there.Salt, "the registry makes it, and every subject's arm hangs on it"); err != nil {
		return nil, err
	}
	targets := make([]target, len(s.Arms))
	after := make([]armView, len(s.Arms))
	for i, a := range s.Arms {
		if targets[i], err = p.target(ctx, s.Model, a.Version.text()); err != nil {
			return nil, err
		}
		weight, err := share(a.Percent, a.Weight)
		if err != nil {
			return nil, err
		}
		after[i] = armView{a.Name, targets[i].digest, a.Prompt.whole(), weight}
	}
	c := &Change{apply: func(ctx context.Context) error {
		arms := make([]any, len(after))
		for i, a := range after {
			arms[i] = a.Prompt.sent(map[string]any{"name": a.Name, "version": targets[i].number(), "weight": a.Weight})
		}
		return p.registry.Send(ctx, http.MethodPut, path(s.Model, "split"), map[string]any{"arms": arms, "etag": there.Etag}, nil)
	}}
	if !found {
		return c.both(nil, map[string]any{"model": s.Model, "arms": after})
	}
	return c.both(map[string]any{"model": s.Model, "arms": there.Arms}, map[string]any{"model": s.Model, "arms": after})
}
