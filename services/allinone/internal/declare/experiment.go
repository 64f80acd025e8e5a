package declare

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// experiment declares a test of versions against each other. What is left out stays
// as it is. Of one that was started, only the weights, the share, the description,
// the testers and the shadow change, and its state.
type experiment struct {
	Kind        string          `yaml:"kind" json:"-"`
	Model       string          `yaml:"model" json:"model"`
	Name        string          `yaml:"name" json:"name"`
	Description *string         `yaml:"description,omitempty" json:"description"`
	Arms        []experimentArm `yaml:"arms,omitempty" json:"arms"`
	Targeting   *targeting      `yaml:"targeting,omitempty" json:"targeting"`
	Layer       *string         `yaml:"layer,omitempty" json:"layer"`
	// Share is the part of the layer in millionths.
	Share     *int       `yaml:"share,omitempty" json:"share"`
	Priority  *int       `yaml:"priority,omitempty" json:"priority"`
	StickyBy  string     `yaml:"sticky_by,omitempty" json:"sticky_by"`
	Overrides []override `yaml:"overrides,omitempty" json:"overrides"`
	Shadow    *shadow    `yaml:"shadow,omitempty" json:"shadow"`
	// State is what it shall be: draft, running, stopped or concluded.
	State  string `yaml:"state,omitempty" json:"state"`
	Winner string `yaml:"winner,omitempty" json:"winner"`
	Reason string `yaml:"reason,omitempty" json:"reason"`
	// Salt and LayerSalt are the registry's: a document may only repeat them.
	Salt      string `yaml:"salt,omitempty" json:"salt"`
	LayerSalt string `yaml:"layer_salt,omitempty" json:"layer_salt"`
	Etag      string `yaml:"-" json:"etag"`
	Status    any    `yaml:"status,omitempty" json:"-"`
}

// experimentArm is served by a version, or by whichever an alias names.
type experimentArm struct {
	Name    string    `yaml:"name" json:"name"`
	Version ref       `yaml:"version,omitempty" json:"version"`
	Alias   string    `yaml:"alias,omitempty" json:"alias"`
	Prompt  armPrompt `yaml:"prompt,omitempty" json:"prompt"`
	Percent string    `yaml:"percent,omitempty" json:"-"`
	Weight  *int      `yaml:"weight,omitempty" json:"weight"`
	Digest  string    `yaml:"-" json:"digest"`
}

type targeting struct {
	Conditions []condition `yaml:"conditions,omitempty" json:"conditions"`
}

// condition looks at the tenant, the role or a header.
type condition struct {
	Attribute string   `yaml:"attribute" json:"attribute"`
	Header    string   `yaml:"header,omitempty" json:"header,omitempty"`
	Values    []string `yaml:"values" json:"values"`
	Negated   bool     `yaml:"negated,omitempty" json:"negated,omitempty"`
}

// override is a tester.
type override struct {
	Tenant  string `yaml:"tenant" json:"tenant"`
	Subject string `yaml:"subject" json:"subject"`
	Arm     string `yaml:"arm" json:"arm"`
}

// shadow gets copies of a share of the requests.
type shadow struct {
	Version           ref    `yaml:"version,omitempty" json:"version"`
	Alias             string `yaml:"alias,omitempty" json:"alias"`
	Percent           string `yaml:"percent,omitempty" json:"-"`
	Share             *int   `yaml:"share,omitempty" json:"share"`
	RequestsPerMinute int    `yaml:"requests_per_minute,omitempty" json:"requests_per_minute"`
	TokensPerMinute   wide   `yaml:"tokens_per_minute,omitempty" json:"tokens_per_minute"`
	Digest            string `yaml:"-" json:"digest"`
}

const (
	stateDraft     = "draft"
	stateRunning   = "running"
	stateStopped   = "stopped"
	stateConcluded = "concluded"

	statePrefix     = "EXPERIMENT_STATE_"
	stickyPrefix    = "STICKY_BY_"
	attributePrefix = "ATTRIBUTE_"
)

func (e *experiment) id() string { return "experiment " + e.Model + "/" + e.Name }

func (e *experiment) check() string {
	switch {
	case e.Model == "" || e.Name == "":
		return "an Experiment needs a model and a name"
	case !oneOf(e.State, stateDraft, stateRunning, stateStopped, stateConcluded):
		return "state must be draft, running, stopped or concluded"
	case !oneOf(e.StickyBy, "user", "session", "tenant", "request"):
		return "sticky_by must be user, session, tenant or request"
	case e.Winner != "" && e.State != stateConcluded, e.Reason != "" && e.State != stateStopped && e.State != stateConcluded:
		return "winner goes with the state concluded, reason with that and with stopped"
	case e.Share != nil && (*e.Share < 1 || *e.Share > wholeSplit):
		return "share must be from 1 to 1000000 millionths of the layer"
	}
	for i, c := range deref(e.Targeting).Conditions {
		if c.Attribute == "" || !oneOf(c.Attribute, "tenant", "role", "header") {
			return fmt.Sprintf("targeting.conditions[%d].attribute must be tenant, role or header", i)
		}
	}
	total := 0
	for i, a := range e.Arms {
		weight, err := share(a.Percent, a.Weight)
		if err != nil || a.Name == "" || (a.Version == "") == (a.Alias == "") {
			return fmt.Sprintf("arms[%d] needs a name, a version or an alias, and either percent, such as 12.5, or weight in millionths", i)
		}
		if why := a.Prompt.wrong(); why != "" {
			return fmt.Sprintf("arms[%d].%s", i, why)
		}
		total += weight
	}
	if len(e.Arms) > 0 && total != wholeSplit {
		return fmt.Sprintf("the arms' shares must add up to 100 percent, they add up to %g", float64(total)/10_000)
	}
	if s := e.Shadow; s != nil {
		if _, err := share(s.Percent, s.Share); err != nil || (s.Version == "") == (s.Alias == "") {
			return "shadow needs a version or an alias, and either percent or share in millionths"
		}
	}
	return ""
}

// plain brings what the registry answered into the form of documents.
func (e *experiment) plain() {
	e.State, e.StickyBy = bare(e.State, statePrefix), bare(e.StickyBy, stickyPrefix)
	for i := range deref(e.Targeting).Conditions {
		c := &e.Targeting.Conditions[i]
		c.Attribute = bare(c.Attribute, attributePrefix)
	}
	for i := range e.Arms {
		a := &e.Arms[i]
		a.Version = numbered(a.Version, a.Alias)
		a.Weight = orZero(a.Weight)
	}
	if e.Shadow != nil {
		e.Shadow.Version = numbered(e.Shadow.Version, e.Shadow.Alias)
		e.Shadow.Share = orZero(e.Shadow.Share)
	}
}

// numbered is a version that is not given where an alias is.
func numbered(version ref, alias string) ref {
	if alias != "" || version == "0" {
		return ""
	}
	return version
}

func orZero(n *int) *int {
	if n == nil {
		return new(int)
	}
	return n
}

// served is an arm or a shadow, ready to be compared and to be sent.
type served struct {
	view map[string]any
	send func() map[string]any
}

func (p *planner) served(ctx context.Context, model, name string, version ref, alias, shareField string, weight int) (served, error) {
	view := map[string]any{shareField: weight}
	base := map[string]any{shareField: weight}
	if name != "" {
		view["name"], base["name"] = name, name
	}
	if alias != "" {
		view["alias"], base["alias"] = alias, alias
		return served{view, func() map[string]any { return base }}, nil
	}
	to, err := p.target(ctx, model, version.text())
	view["version"] = to.digest
	return served{view, func() map[string]any { base["version"] = to.number(); return base }}, err
}

// servedView is the same of what is there.
func servedView(name string, version ref, alias, digest, shareField string, weight *int) map[string]any {
	out := map[string]any{shareField: deref(weight)}
	if name != "" {
		out["name"] = name
	}
	if alias != "" {
		out["alias"] = alias
		return out
	}
	out["version"] = digest
	if digest == "" {
		out["version"] = version.text()
	}
	return out
}

func (e *experiment) plan(ctx context.Context, p *planner) (*Change, error) {
	var there experiment
	found, err := p.get(ctx, e.Model, path(e.Model, "experiments", e.Name), &there)
	if err != nil {
		return nil, err
	}
	there.plain()
	const why = "the registry makes it, and every subject's arm hangs on it"
	if err := fixed("salt", e.Salt, there.Salt, why); err != nil {
		return nil, err
	}
	if err := fixed("layer_salt", e.LayerSalt, there.LayerSalt, why); err != nil {
		return nil, err
	}
	w, err := e.wanted(ctx, p)
	if err != nil {
		return nil, err
	}
	if !found {
		if e.State == stateStopped || e.State == stateConcluded {
			return nil, fmt.Errorf("state cannot be %s: there is no such experiment, and one that is made is a draft or running", e.State)
		}
		return e.planNew(p, w)
	}
	is := there.view()
	if err := e.frozen(&there, is, w); err != nil {
		return nil, err
	}
	c := &Change{apply: func(ctx context.Context) error { return e.change(ctx, p, &there, is, w) }}
	return c.compare(is, w.view)
}

// verb calls a verb of the experiment by the etag, and notes the new one.
func (e *experiment) verb(ctx context.Context, p *planner, etag *string, verb string, body map[string]any) error {
	body["etag"] = *etag
	var answer experiment
	if err := p.registry.Send(ctx, http.MethodPost, path(e.Model, "experiments", e.Name)+":"+verb, body, &answer); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	*etag = answer.Etag
	return nil
}

func (e *experiment) planNew(p *planner, w *wantedExperiment) (*Change, error) {
	c := &Change{apply: func(ctx context.Context) error {
		body := w.body(nil)
		body["name"] = e.Name
		var made experiment
		if err := p.registry.Send(ctx, http.MethodPost, path(e.Model, "experiments"), body, &made); err != nil {
			return err
		}
		if e.State != stateRunning {
			return nil
		}
		return e.verb(ctx, p, &made.Etag, "start", map[string]any{})
	}}
	return c.both(nil, w.view)
}

// frozen refuses in words what the state of the experiment does not allow.
func (e *experiment) frozen(there *experiment, is map[string]any, w *wantedExperiment) error {
	if there.State == stateDraft {
		if e.State == stateStopped || e.State == stateConcluded {
			return fmt.Errorf("state cannot be %s: the experiment was never started", e.State)
		}
		return nil
	}
	if e.State != "" && e.State != there.State && (there.State == stateConcluded || e.State == stateDraft) {
		return fmt.Errorf("state cannot be changed by a file from %s to %s: what was started is no draft again, and what is concluded is over", there.State, e.State)
	}
	fields := []string{"targeting", "layer", "priority", "sticky_by"}
	if there.State == stateConcluded {
		fields = append(fields, "share", "overrides", "shadow", "winner", "reason")
	}
	if there.State == stateStopped && e.State == stateStopped {
		fields = append(fields, "reason")
	}
	before := spoken(w.view, is)
	for _, field := range fields {
		if same, err := sameYAML(before[field], w.view[field]); err != nil {
			return err
		} else if !same {
			return fmt.Errorf("%s cannot be changed by a file: the experiment is %s, and what was measured would be void; create another one", field, there.State)
		}
	}
	if len(e.Arms) == 0 {
		return nil
	}
	if err := sameArms(is["arms"], w.view["arms"], there.State == stateConcluded); err != nil {
		return fmt.Errorf("arms cannot be changed by a file: the experiment is %s: %w", there.State, err)
	}
	return nil
}

// sameArms compares arms but for their weights, unless these are fixed too.
func sameArms(is, wanted any, weightsToo bool) error {
	a, _ := is.([]map[string]any)
	b, _ := wanted.([]map[string]any)
	if len(a) != len(b) {
		return fmt.Errorf("it has %d arms, and keeps them", len(a))
	}
	for i := range a {
		for _, field := range []string{"name", "version", "alias", "prompt", "weight"} {
			if (field != "weight" || weightsToo) && a[i][field] != b[i][field] {
				return fmt.Errorf("arms[%d].%s stays %v", i, field, a[i][field])
			}
		}
	}
	return nil
}

func sameYAML(a, b any) (bool, error) {
	x, err := text(a)
	if err != nil {
		return false, err
	}
	y, err := text(b)
	return strings.TrimSpace(x) == strings.TrimSpace(y), err
}
