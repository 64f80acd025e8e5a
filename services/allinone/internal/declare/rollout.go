package declare

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strconv"
	"time"
)

// rollout declares how a version takes over. A rollout's plan never changes, and its
// course is a matter of the commands: a document makes one that is not there, and
// must be the plan of one that is.
type rollout struct {
	Kind        string             `yaml:"kind" json:"-"`
	Model       string             `yaml:"model" json:"model"`
	Name        string             `yaml:"name" json:"name"`
	Candidate   ref                `yaml:"candidate" json:"candidate"`
	Baseline    ref                `yaml:"baseline,omitempty" json:"baseline"`
	Alias       string             `yaml:"alias,omitempty" json:"alias"`
	Description *string            `yaml:"description,omitempty" json:"description"`
	Labels      map[string]string  `yaml:"labels,omitempty" json:"labels"`
	Shadow      *rolloutShadow     `yaml:"shadow,omitempty" json:"shadow"`
	Steps       []rolloutStep      `yaml:"steps" json:"steps"`
	Guardrails  []rolloutGuardrail `yaml:"guardrails,omitempty" json:"guardrails"`
	Status      any                `yaml:"status,omitempty" json:"-"`
}

type rolloutStep struct {
	Percent     string `yaml:"percent,omitempty" json:"-"`
	Weight      *int   `yaml:"weight,omitempty" json:"weight"`
	MinDuration string `yaml:"min_duration,omitempty" json:"min_duration"`
	MinRequests wide   `yaml:"min_requests,omitempty" json:"min_requests"`
	Deadline    string `yaml:"deadline,omitempty" json:"deadline"`
}

type rolloutShadow struct {
	Percent     string `yaml:"percent,omitempty" json:"-"`
	Weight      *int   `yaml:"weight,omitempty" json:"weight"`
	MinDuration string `yaml:"min_duration,omitempty" json:"min_duration"`
	MinRequests wide   `yaml:"min_requests,omitempty" json:"min_requests"`
}

type rolloutGuardrail struct {
	Metric      string  `yaml:"metric" json:"metric"`
	MaxRelative float64 `yaml:"max_relative,omitempty" json:"max_relative,omitempty"`
	Max         float64 `yaml:"max,omitempty" json:"max,omitempty"`
	Alpha       float64 `yaml:"alpha,omitempty" json:"alpha,omitempty"`
}

func (r *rollout) id() string { return "rollout " + r.Model + "/" + r.Name }

func (r *rollout) check() string {
	if r.Model == "" || r.Name == "" || r.Candidate == "" || len(r.Steps) == 0 {
		return "a Rollout needs a model, a name, a candidate and steps"
	}
	for i := range r.Steps {
		if _, err := r.Steps[i].body(); err != nil {
			return fmt.Sprintf("steps[%d]: %v", i, err)
		}
	}
	if r.Shadow != nil {
		if _, err := r.Shadow.body(); err != nil {
			return fmt.Sprintf("shadow: %v", err)
		}
	}
	return ""
}

// body is a step as the API takes it.
func (s *rolloutStep) body() (map[string]any, error) {
	out, err := stage(s.Percent, s.Weight, s.MinDuration, s.MinRequests)
	if err != nil || s.Deadline == "" {
		return out, err
	}
	out["deadline"], err = seconds("deadline", s.Deadline)
	return out, err
}

func (s *rolloutShadow) body() (map[string]any, error) {
	return stage(s.Percent, s.Weight, s.MinDuration, s.MinRequests)
}

func stage(percent string, weight *int, minDuration string, minRequests wide) (map[string]any, error) {
	part, err := share(percent, weight)
	if err != nil || part == 0 {
		return nil, errors.New("needs either percent, such as 12.5, or weight in millionths")
	}
	out := map[string]any{"weight": part}
	if minRequests != 0 {
		out["min_requests"] = int64(minRequests)
	}
	if minDuration != "" {
		out["min_duration"], err = seconds("min_duration", minDuration)
	}
	return out, err
}

// seconds writes a duration as the API does.
func seconds(field, text string) (string, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return "", fmt.Errorf("%s must be a duration such as 10m, not %q", field, text)
	}
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s", nil
}

func (r *rollout) plan(ctx context.Context, p *planner) (*Change, error) {
	var there rollout
	found, err := p.get(ctx, r.Model, path(r.Model, "rollouts", r.Name), &there)
	if err != nil {
		return nil, err
	}
	body, err := r.body()
	if err != nil {
		return nil, err
	}
	candidate, err := p.target(ctx, r.Model, r.Candidate.text())
	if err != nil {
		return nil, fmt.Errorf("candidate: %w", err)
	}
	baseline := target{number: func() int { return 0 }}
	if r.Baseline != "" {
		if baseline, err = p.target(ctx, r.Model, r.Baseline.text()); err != nil {
			return nil, fmt.Errorf("baseline: %w", err)
		}
	}
	after := map[string]any{"model": r.Model, "name": r.Name, "candidate": candidate.digest}
	maps.Copy(after, body)
	c := &Change{apply: func(ctx context.Context) error {
		body["rollout"], body["candidate"] = r.Name, candidate.number()
		if n := baseline.number(); n != 0 {
			body["baseline"] = n
		}
		return p.registry.Send(ctx, http.MethodPost, path(r.Model, "rollouts"), body, nil)
	}}
	if !found {
		return c.both(nil, after)
	}
	if err := r.samePlan(&there, body, candidate.number(), baseline.number()); err != nil {
		return nil, err
	}
	return c.both(after, after)
}

// body is what a document says, without versions.
func (r *rollout) body() (map[string]any, error) {
	steps := make([]any, len(r.Steps))
	for i := range r.Steps {
		step, err := r.Steps[i].body()
		if err != nil {
			return nil, fmt.Errorf("steps[%d]: %w", i, err)
		}
		steps[i] = step
	}
	out := map[string]any{"steps": steps}
	if r.Shadow != nil {
		shadow, err := r.Shadow.body()
		if err != nil {
			return nil, fmt.Errorf("shadow: %w", err)
		}
		out["shadow"] = shadow
	}
	if len(r.Guardrails) > 0 {
		out["guardrails"] = r.Guardrails
	}
	if len(r.Labels) > 0 {
		out["labels"] = r.Labels
	}
	if r.Alias != "" {
		out["alias"] = r.Alias
	}
	if r.Description != nil {
		out["description"] = *r.Description
	}
	return out, nil
}

// samePlan refuses a document that is not the plan of the rollout that is there,
// which is known by its numbers. What it does not say is as it is there.
func (r *rollout) samePlan(there *rollout, body map[string]any, candidate, baseline int) error {
	const why = "a rollout's plan never changes; abort it, and declare one of another name"
	for _, v := range []struct {
		field      string
		said, told int
	}{{"candidate", candidate, number(there.Candidate)}, {"baseline", baseline, number(there.Baseline)}} {
		if (v.field == "candidate" || v.said != 0) && v.said != v.told {
			return fmt.Errorf("%s cannot be changed by a file, it is version %d: %s", v.field, v.told, why)
		}
	}
	for i := range there.Steps {
		// A deadline that was left out is the registry's.
		if i < len(r.Steps) && r.Steps[i].Deadline == "" {
			there.Steps[i].Deadline = ""
		}
	}
	is, err := there.body()
	if err != nil {
		return err
	}
	for field, said := range body {
		told := is[field]
		if !reflect.DeepEqual(said, told) && (told != nil || !isEmpty(said)) {
			return fmt.Errorf("%s cannot be changed by a file: %s", field, why)
		}
	}
	return nil
}
