package declare

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// wantedExperiment is what a document says, with the versions that it names.
type wantedExperiment struct {
	of     *experiment
	view   map[string]any
	arms   []served
	shadow *served
}

func (e *experiment) wanted(ctx context.Context, p *planner) (*wantedExperiment, error) {
	w := &wantedExperiment{of: e, view: e.plainView()}
	if e.Arms != nil {
		arms := make([]map[string]any, 0, len(e.Arms))
		for i, a := range e.Arms {
			weight, err := share(a.Percent, a.Weight)
			if err != nil {
				return nil, err
			}
			s, err := p.served(ctx, e.Model, a.Name, a.Version, a.Alias, "weight", weight)
			if err != nil {
				return nil, fmt.Errorf("arms[%d]: %w", i, err)
			}
			send := s.send
			s.send = func() map[string]any { return a.Prompt.sent(send()) }
			w.arms, arms = append(w.arms, s), append(arms, a.Prompt.shown(s.view))
		}
		w.view["arms"] = arms
	}
	if s := e.Shadow; s != nil {
		part, err := share(s.Percent, s.Share)
		if err != nil {
			return nil, err
		}
		to, err := p.served(ctx, e.Model, "", s.Version, s.Alias, "share", part)
		if err != nil {
			return nil, fmt.Errorf("shadow: %w", err)
		}
		send := to.send
		limits := map[string]any{"requests_per_minute": s.RequestsPerMinute, "tokens_per_minute": int64(s.TokensPerMinute)}
		maps.Copy(to.view, limits)
		to.send = func() map[string]any {
			out := send()
			maps.Copy(out, limits)
			return out
		}
		w.shadow, w.view["shadow"] = &to, to.view
	}
	return w, nil
}

// plainView is what a document says besides arms and shadow.
func (e *experiment) plainView() map[string]any {
	out := map[string]any{"model": e.Model, "name": e.Name}
	if e.Description != nil {
		out["description"] = *e.Description
	}
	if e.Targeting != nil {
		out["targeting"] = append([]condition{}, e.Targeting.Conditions...)
	}
	if e.Layer != nil {
		out["layer"] = *e.Layer
	}
	if e.Share != nil {
		out["share"] = *e.Share
	}
	if e.Priority != nil {
		out["priority"] = *e.Priority
	}
	if e.Overrides != nil {
		out["overrides"] = append([]override{}, e.Overrides...)
	}
	for field, value := range map[string]string{"sticky_by": e.StickyBy, "state": e.State, "winner": e.Winner, "reason": e.Reason} {
		if value != "" {
			out[field] = value
		}
	}
	return out
}

// view is all of what is there.
func (e *experiment) view() map[string]any {
	out := e.plainView()
	arms := make([]map[string]any, 0, len(e.Arms))
	for _, a := range e.Arms {
		arms = append(arms, a.Prompt.shown(servedView(a.Name, a.Version, a.Alias, a.Digest, "weight", a.Weight)))
	}
	out["arms"] = arms
	if s := e.Shadow; s != nil {
		view := servedView("", s.Version, s.Alias, s.Digest, "share", s.Share)
		view["requests_per_minute"], view["tokens_per_minute"] = s.RequestsPerMinute, int64(s.TokensPerMinute)
		out["shadow"] = view
	}
	return out
}

// body is the experiment as the API takes it: what the document does not speak of is
// as it is there.
func (w *wantedExperiment) body(there *experiment) map[string]any {
	e := *w.of
	arms := make([]map[string]any, 0, len(w.arms))
	for _, a := range w.arms {
		arms = append(arms, a.send())
	}
	var shadow map[string]any
	if w.shadow != nil {
		shadow = w.shadow.send()
	}
	if there != nil {
		e.Description, e.Layer = or(e.Description, there.Description), or(e.Layer, there.Layer)
		e.Share, e.Priority, e.Targeting = or(e.Share, there.Share), or(e.Priority, there.Priority), or(e.Targeting, there.Targeting)
		if e.StickyBy == "" {
			e.StickyBy = there.StickyBy
		}
		if e.Overrides == nil {
			e.Overrides = there.Overrides
		}
		if w.arms == nil {
			for _, a := range there.Arms {
				arms = append(arms, a.Prompt.sent(asIs(a.Name, a.Version, a.Alias, "weight", a.Weight)))
			}
		}
		if s := there.Shadow; w.shadow == nil && s != nil {
			shadow = asIs("", s.Version, s.Alias, "share", s.Share)
			shadow["requests_per_minute"], shadow["tokens_per_minute"] = s.RequestsPerMinute, int64(s.TokensPerMinute)
		}
	}
	out := map[string]any{
		"description": deref(e.Description), "arms": arms, "layer": deref(e.Layer), "share": deref(e.Share), "priority": deref(e.Priority),
	}
	if e.StickyBy != "" {
		out["sticky_by"] = enum(e.StickyBy, stickyPrefix)
	}
	if len(e.Overrides) > 0 {
		out["overrides"] = e.Overrides
	}
	if shadow != nil {
		out["shadow"] = shadow
	}
	if conditions := deref(e.Targeting).Conditions; len(conditions) > 0 {
		sent := make([]condition, len(conditions))
		for i, c := range conditions {
			sent[i] = c
			sent[i].Attribute = enum(c.Attribute, attributePrefix)
		}
		out["targeting"] = map[string]any{"conditions": sent}
	}
	return out
}

func or[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

func asIs(name string, version ref, alias, shareField string, weight *int) map[string]any {
	out := map[string]any{shareField: deref(weight)}
	if name != "" {
		out["name"] = name
	}
	if alias != "" {
		out["alias"] = alias
		return out
	}
	out["version"] = number(version)
	return out
}

// change makes an experiment that is there what the document says, call by call,
// each by the etag that the one before answered.
func (e *experiment) change(ctx context.Context, p *planner, there *experiment, is map[string]any, w *wantedExperiment) error {
	etag := there.Etag
	body := w.body(there)
	before := spoken(w.view, is)
	differs := func(fields ...string) bool {
		for _, f := range fields {
			if same, err := sameYAML(before[f], w.view[f]); err != nil || !same {
				return true
			}
		}
		return false
	}
	started := there.State != stateDraft
	plan := []string{"description", "overrides", "shadow"}
	if started {
		keepArms(body, there)
	} else {
		plan = append(plan, "arms", "targeting", "layer", "share", "priority", "sticky_by")
	}
	if differs(plan...) {
		body["etag"] = etag
		var answer experiment
		if err := p.registry.Send(ctx, http.MethodPut, path(e.Model, "experiments", e.Name), body, &answer); err != nil {
			return err
		}
		etag = answer.Etag
	}
	if started && differs("arms", "share") {
		if err := e.verb(ctx, p, &etag, "ramp", w.ramp()); err != nil {
			return err
		}
	}
	if e.State == "" || e.State == there.State {
		return nil
	}
	switch e.State {
	case stateRunning:
		return e.verb(ctx, p, &etag, "start", map[string]any{})
	case stateStopped:
		return e.verb(ctx, p, &etag, "stop", map[string]any{"reason": e.Reason})
	default:
		return e.verb(ctx, p, &etag, "conclude", map[string]any{"winner": e.Winner, "reason": e.Reason})
	}
}

// keepArms has the body keep the arms and the share that are there.
func keepArms(body map[string]any, there *experiment) {
	arms := make([]map[string]any, 0, len(there.Arms))
	for _, a := range there.Arms {
		arms = append(arms, a.Prompt.sent(asIs(a.Name, a.Version, a.Alias, "weight", a.Weight)))
	}
	body["arms"], body["share"] = arms, deref(there.Share)
}

// ramp names all weights, so that nothing is left to the difference.
func (w *wantedExperiment) ramp() map[string]any {
	weights := map[string]any{}
	for _, a := range w.arms {
		name, _ := a.view["name"].(string)
		weights[name] = a.view["weight"]
	}
	out := map[string]any{}
	if len(weights) > 0 {
		out["weights"] = weights
	}
	if w.of.Share != nil {
		out["share"] = *w.of.Share
	}
	return out
}

// number is a version's number; 0 for a name.
func number(r ref) int {
	n, err := strconv.Atoi(strings.TrimPrefix(r.text(), "v"))
	if err != nil {
		return 0
	}
	return n
}
