package store

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/allocation"
)

// secretHeaders hold credentials, which the edge forwards to nobody.
var secretHeaders = []string{"authorization", "cookie", "proxy-authorization", "x-api-key"}

// checkPlan returns everything that is wrong with a plan by itself.
func checkPlan(e *registryv1.Experiment) error {
	var bad []apierr.Violation
	wrong := func(field, format string, args ...any) {
		bad = append(bad, apierr.Violation{Field: field, Description: fmt.Sprintf(format, args...)})
	}
	if !names.MatchString(e.GetName()) {
		wrong("name", "is not a name")
	}
	checkPlanArms(e, wrong)
	for i, c := range e.GetTargeting().GetConditions() {
		field := fmt.Sprintf("targeting.conditions[%d].header", i)
		header := c.GetAttribute() == registryv1.Attribute_ATTRIBUTE_HEADER
		switch {
		case header && c.GetHeader() == "":
			wrong(field, "must name the header")
		case !header && c.GetHeader() != "":
			wrong(field, "is only for conditions on a header")
		case slices.Contains(secretHeaders, c.GetHeader()):
			wrong(field, "holds credentials, and is never forwarded")
		}
	}
	seen := make(map[[2]string]bool, len(e.GetOverrides()))
	for i, o := range e.GetOverrides() {
		field := fmt.Sprintf("overrides[%d]", i)
		if armIndex(e, o.GetArm()) < 0 {
			wrong(field+".arm", "is not the name of an arm")
		}
		who := [2]string{o.GetTenant(), o.GetSubject()}
		if seen[who] {
			wrong(field+".subject", "has an override before it")
		}
		seen[who] = true
	}
	if sh := e.GetShadow(); sh != nil {
		if (sh.GetVersion() == 0) == (sh.GetAlias() == "") {
			wrong("shadow.version", "must be named by its number or by an alias, and not by both")
		}
		if sh.GetShare() < 1 || sh.GetShare() > allocation.Whole {
			wrong("shadow.share", "must be from 1 to 1000000")
		}
	}
	return invalid(bad)
}

func checkPlanArms(e *registryv1.Experiment, wrong func(field, format string, args ...any)) {
	if len(e.GetArms()) == 0 {
		switch {
		case e.GetShadow() == nil:
			wrong("arms", "must hold at least one arm where there is no shadow")
		case e.GetLayer() != "" || e.GetShare() != 0 && e.GetShare() != allocation.Whole:
			wrong("arms", "must hold at least one arm where there is a layer or a share: a shadow has a share of its own")
		}
		return
	}
	var sum int64
	seen := make(map[string]bool, len(e.GetArms()))
	for i, a := range e.GetArms() {
		field := fmt.Sprintf("arms[%d].", i)
		sum += int64(a.GetWeight())
		if !names.MatchString(a.GetName()) {
			wrong(field+"name", "is not a name")
		}
		if seen[a.GetName()] {
			wrong(field+"name", "is the name of an arm before it")
		}
		seen[a.GetName()] = true
		if (a.GetVersion() == 0) == (a.GetAlias() == "") {
			wrong(field+"version", "must be named by its number or by an alias, and not by both")
		}
		if why := checkPromptForm(a.GetPrompt()); why != "" {
			wrong(field+"prompt", "%s", why)
		}
		if a.GetWeight() < 0 || a.GetWeight() > allocation.Whole {
			wrong(field+"weight", "must be from 0 to 1000000")
		}
	}
	if sum != allocation.Whole {
		wrong("arms", "the weights must add up to 1000000, not %d", sum)
	}
}

// armIndex returns an arm's place; -1 when there is none of that name.
func armIndex(e *registryv1.Experiment, name string) int {
	return slices.IndexFunc(e.GetArms(), func(a *registryv1.ExperimentArm) bool { return a.GetName() == name })
}

// checkVersions checks that what an experiment names is there, and sets the
// digests. A digest that is given and not its version's is refused, for then the
// caller meant another version.
func (s *Store) checkVersions(ctx context.Context, c *change, e *registryv1.Experiment) error {
	for i, a := range e.GetArms() {
		digest, err := s.named(ctx, c, fmt.Sprintf("arms[%d].", i), a.GetVersion(), a.GetAlias(), a.GetDigest())
		if err != nil {
			return err
		}
		a.Digest = digest
		digest, err = s.promptNamed(ctx, c, fmt.Sprintf("arms[%d].prompt.", i), a.GetPrompt())
		if err != nil {
			return err
		}
		if a.GetPrompt() != nil {
			a.Prompt.Digest = digest
		}
	}
	if sh := e.GetShadow(); sh != nil {
		digest, err := s.named(ctx, c, "shadow.", sh.GetVersion(), sh.GetAlias(), sh.GetDigest())
		if err != nil {
			return err
		}
		sh.Digest = digest
	}
	return nil
}

// named returns the digest of a version, and "" for an alias that is there.
func (s *Store) named(ctx context.Context, c *change, field string, version int32, alias, given string) (string, error) {
	if alias != "" {
		a, err := s.alias(ctx, c.tx, c.model, alias)
		if err == nil && a == nil {
			err = notFound(field+"alias", "the model %q has no alias %q", c.model, alias)
		}
		if err == nil && given != "" {
			err = apierr.Invalid(field+"digest", "must not be given with an alias, which may move")
		}
		return "", err
	}
	v, err := s.version(ctx, c.tx, c.model, VersionKey{Number: version})
	if err == nil {
		err = s.opts.May(v)
	}
	switch {
	case err != nil:
		return "", inField(err, field+"version")
	case given != "" && given != v.GetDigest():
		return "", apierr.Invalid(field+"digest", "%sdigest is not the digest of version %d, which is %s", field, version, v.GetDigest())
	}
	return v.GetDigest(), nil
}

// checkFrozen refuses what may not change any more in the state that an experiment
// is in: what was measured with other arms or for others would be void.
func checkFrozen(there, plan *registryv1.Experiment) error {
	state := there.GetState()
	if state == draft {
		return nil
	}
	over := state == concluded
	for _, f := range []struct {
		field string
		same  bool
	}{
		{"arms", slices.EqualFunc(there.GetArms(), plan.GetArms(), samePlannedArm)},
		{"targeting", proto.Equal(there.GetTargeting(), plan.GetTargeting())},
		{"layer", there.GetLayer() == plan.GetLayer()},
		{"share", there.GetShare() == plan.GetShare()},
		{"priority", there.GetPriority() == plan.GetPriority()},
		{"sticky_by", there.GetStickyBy() == plan.GetStickyBy()},
		{"overrides", !over || slices.EqualFunc(there.GetOverrides(), plan.GetOverrides(),
			func(a, b *registryv1.Override) bool { return proto.Equal(a, b) })},
		{"shadow", !over || sameShadow(there.GetShadow(), plan.GetShadow())},
	} {
		if !f.same {
			return wrongStateOf(there, f.field)
		}
	}
	// Without arms there is nothing but the shadow, and it has to stay one.
	if len(there.GetArms()) == 0 && plan.GetShadow() == nil {
		return wrongStateOf(there, "shadow")
	}
	if over { // digests stay as they were: what they name may be gone
		plan.Arms, plan.Shadow = there.GetArms(), there.GetShadow()
	}
	return nil
}

func wrongStateOf(e *registryv1.Experiment, field string) error {
	return apierr.New(apierr.FailedPrecondition, "%s cannot be changed: the experiment %q of %q is %s",
		field, e.GetName(), e.GetModel(), stateName(e.GetState())).WithField(field)
}

func samePlannedArm(a, b *registryv1.ExperimentArm) bool {
	return a.GetName() == b.GetName() && a.GetVersion() == b.GetVersion() && a.GetAlias() == b.GetAlias() && a.GetWeight() == b.GetWeight() &&
		samePrompt(a.GetPrompt(), b.GetPrompt())
}

func sameShadow(a, b *registryv1.Shadow) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	if a != nil && b != nil {
		a.Digest, b.Digest = "", ""
	}
	return proto.Equal(a, b)
}
