package placement

import (
	"strings"
	"testing"
	"time"
)

func TestPolicies(t *testing.T) {
	zero, one, three, yes, hour := 0, 1, 3, true, time.Hour
	p := Policies{
		Default: Policy{Min: 2, Max: 4, IdleUnload: time.Minute},
		Models: map[string]Override{
			"cold":  {MinReplicas: &zero},
			"warm":  {MinReplicas: &three, Pinned: &yes, WarmUp: &yes, IdleUnload: &hour},
			"small": {MaxReplicas: &one},
		},
	}
	label := func(kv ...string) map[string]string { return map[string]string{kv[0]: kv[1]} }
	for name, tt := range map[string]struct {
		model  string
		labels map[string]string
		want   Policy
	}{
		"nothing said":      {"m", nil, Policy{Min: 2, Max: 4, IdleUnload: time.Minute}},
		"on demand":         {"cold", nil, Policy{Min: 0, Max: 4, IdleUnload: time.Minute}},
		"all of it":         {"warm", nil, Policy{Min: 3, Max: 4, Guaranteed: 3, Pinned: true, WarmUp: true, IdleUnload: time.Hour}},
		"fewer than usual":  {"small", nil, Policy{Min: 1, Max: 1, IdleUnload: time.Minute}},
		"a label":           {"m", label(LabelMinReplicas, "6"), Policy{Min: 6, Max: 6, Guaranteed: 6, IdleUnload: time.Minute}},
		"config before":     {"cold", label(LabelMinReplicas, "6"), Policy{Min: 0, Max: 4, IdleUnload: time.Minute}},
		"label and default": {"m", label(LabelIdleUnload, "2h"), Policy{Min: 2, Max: 4, IdleUnload: 2 * time.Hour}},
		"pinned":            {"m", label(LabelPinned, "true"), Policy{Min: 2, Max: 4, IdleUnload: time.Minute, Pinned: true}},
	} {
		if got := p.Of(tt.model, tt.labels); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
	for _, kv := range [][2]string{
		{LabelMinReplicas, "-1"},
		{LabelMinReplicas, "many"},
		{LabelMaxReplicas, "0"},
		{LabelMaxReplicas, "99999"},
		{LabelPinned, "perhaps"},
		{LabelWarmUp, ""},
		{LabelIdleUnload, "-1s"},
		{LabelIdleUnload, "soon"},
	} {
		got := p.Of("m", label(kv[0], kv[1]))
		if !strings.Contains(got.Problem, kv[0]) {
			t.Errorf("%v: problem %q", kv, got.Problem)
		}
		if got.Problem = ""; got != p.Of("m", nil) {
			t.Errorf("%v changed %+v", kv, got)
		}
	}
}

func TestDesired(t *testing.T) {
	policy := Policy{Min: 1, Max: 8, IdleUnload: 10 * time.Minute}
	now := time.Unix(1_800_000_000, 0)
	of := func(tr *trend, l load, asked bool, p Policy) int {
		now = now.Add(time.Second)
		return tr.desired(now, l, asked, p, 0.5)
	}
	steady := func(l load, p Policy) (n int) {
		tr := &trend{}
		for range 120 {
			n = of(tr, l, false, p)
		}
		return n
	}
	for name, tt := range map[string]struct {
		load load
		min  int
		want int
	}{
		"nothing":               {load{}, 0, 0},
		"the least":             {load{}, 2, 2},
		"half of the slots":     {load{copies: 1, slots: 4, requests: 2}, 0, 1},
		"a little more":         {load{copies: 1, slots: 4, requests: 3}, 0, 2},
		"two that are full":     {load{copies: 2, slots: 8, requests: 8}, 0, 4},
		"the most":              {load{copies: 2, slots: 8, requests: 800}, 0, 8},
		"used now and then":     {load{copies: 2, slots: 8, idle: time.Minute, idleKnown: true}, 0, 1},
		"not used":              {load{copies: 2, slots: 8, idle: time.Hour, idleKnown: true}, 0, 0},
		"not known to be used":  {load{copies: 2, slots: 8}, 0, 1},
		"no figures of a queue": {load{requests: 4}, 0, 8},
	} {
		p := policy
		p.Min = tt.min
		if got := steady(tt.load, p); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
	none := policy
	none.Min = 0
	if got := of(&trend{}, load{}, true, none); got != 1 {
		t.Errorf("asked for: %d", got)
	}
	// A moment's peak changes little.
	tr := &trend{}
	of(tr, load{copies: 1, slots: 4, requests: 1}, false, policy)
	if got := of(tr, load{copies: 1, slots: 4, requests: 10}, false, policy); got > 1 {
		t.Errorf("after one second of a peak: %d", got)
	}
	for range 60 {
		of(tr, load{copies: 1, slots: 4, requests: 10}, false, policy)
	}
	if got := of(tr, load{copies: 1, slots: 4, requests: 10}, false, policy); got != 5 {
		t.Errorf("after a minute of it: %d", got)
	}
}
