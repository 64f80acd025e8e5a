package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// checkPromptForm returns what is wrong with how an arm names a prompt; "" when
// nothing is.
func checkPromptForm(ref *registryv1.PromptReference) string {
	switch {
	case ref == nil:
		return ""
	case !names.MatchString(ref.GetPrompt()):
		return "must name the prompt"
	case (ref.GetVersion() == 0) == (ref.GetAlias() == ""):
		return "must be named by the number of its version or by an alias, and not by both"
	}
	return ""
}

// samePrompt compares what arms name, without digests.
func samePrompt(a, b *registryv1.PromptReference) bool {
	return a.GetPrompt() == b.GetPrompt() && a.GetVersion() == b.GetVersion() && a.GetAlias() == b.GetAlias()
}

// promptNamed checks that the prompt which an arm names is there and sent to
// consumers, and returns the digest of a version that is named by its number. A
// digest that is given and not that version's is refused.
func (s *Store) promptNamed(ctx context.Context, c *change, field string, ref *registryv1.PromptReference) (string, error) {
	if ref == nil {
		return "", nil
	}
	if ref.GetAlias() != "" {
		a, err := s.promptAlias(ctx, c.tx, ref.GetPrompt(), ref.GetAlias())
		switch {
		case err != nil:
			return "", err
		case a == nil:
			return "", notFound(field+"alias", "there is no prompt %q with the alias %q", ref.GetPrompt(), ref.GetAlias())
		case ref.GetDigest() != "":
			return "", apierr.Invalid(field+"digest", "must not be given with an alias, which may move")
		}
		return "", nil
	}
	v, err := scanPromptVersion(c.tx.QueryRowContext(ctx, promptVersionQuery+`AND number = $2`, ref.GetPrompt(), ref.GetVersion()))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", notFound(field+"version", "there is no prompt %q with the version %d", ref.GetPrompt(), ref.GetVersion())
	case err != nil:
		return "", fmt.Errorf("version of a prompt: %w", err)
	case ref.GetDigest() != "" && ref.GetDigest() != v.GetDigest():
		return "", apierr.Invalid(field+"digest", "%sdigest is not the digest of version %d, which is %s", field, ref.GetVersion(), v.GetDigest())
	}
	sent, err := s.promptSent(ctx, c.tx, ref.GetPrompt())
	if err == nil && !sent.has(ref.GetVersion()) {
		err = apierr.New(apierr.FailedPrecondition,
			"version %d of the prompt %q is too old to be sent to those that fill it in: point an alias at it first", ref.GetVersion(), ref.GetPrompt()).
			WithField(field + "version")
	}
	return v.GetDigest(), err
}

// putArmPrompts notes which prompts the arms of an experiment name; "" is the
// model's split.
func (c *change) putArmPrompts(ctx context.Context, experiment string, prompts map[string]*registryv1.PromptReference) error {
	err := c.exec(ctx, `DELETE FROM registry_arm_prompts WHERE model = $1 AND experiment = $2`, c.model, experiment)
	if err != nil {
		return err
	}
	for arm, ref := range prompts {
		if ref == nil {
			continue
		}
		err := c.exec(ctx, `INSERT INTO registry_arm_prompts (model, experiment, arm, prompt, version, alias) VALUES ($1, $2, $3, $4, $5, $6)`,
			c.model, experiment, arm, ref.GetPrompt(), ref.GetVersion(), ref.GetAlias())
		if err != nil {
			return err
		}
	}
	return nil
}

// checkPromptAliasFree refuses to remove an alias of a prompt that an arm names.
func (s *Store) checkPromptAliasFree(ctx context.Context, c *change, prompt, alias string) error {
	needing, err := collect(ctx, c.tx, func(row scanner) (string, error) {
		var model, experiment string
		err := row.Scan(&model, &experiment)
		if experiment == "" {
			return fmt.Sprintf("the split of %q", model), err
		}
		return fmt.Sprintf("experiment %q of %q", experiment, model), err
	}, `SELECT DISTINCT model, experiment FROM registry_arm_prompts WHERE prompt = $1 AND alias = $2 ORDER BY model, experiment LIMIT 10`, prompt, alias)
	if err != nil {
		return fmt.Errorf("arms that name a prompt: %w", err)
	}
	return refuseNeeded(fmt.Sprintf("the alias %q of the prompt %q", alias, prompt), "alias", needing)
}

// sentPrompt is which versions of a prompt consumers are sent: those from a number
// on, and those that something names.
type sentPrompt struct {
	from  int32
	named []int32
	bytes int64
}

func (p sentPrompt) has(number int32) bool {
	return number >= p.from || slices.Contains(p.named, number)
}

// maxSentVersions bounds the versions of a prompt that are sent because they are
// new.
const maxSentVersions = 256

// namedPromptVersions are those that an alias or an arm names: they are always sent.
const namedPromptVersions = `SELECT version FROM registry_prompt_aliases WHERE prompt = $1
	UNION SELECT version FROM registry_arm_prompts WHERE prompt = $1`

// promptSent decides which versions of a prompt are sent: what is named, and of the
// rest the newest that fit.
func (s *Store) promptSent(ctx context.Context, q querier, prompt string) (sentPrompt, error) {
	type entry struct {
		number int32
		bytes  int64
	}
	scan := func(row scanner) (e entry, err error) { return e, row.Scan(&e.number, &e.bytes) }
	named, err := collect(ctx, q, scan, `SELECT number, length(spec) FROM registry_prompt_versions
		WHERE prompt = $1 AND number IN (`+namedPromptVersions+`) ORDER BY number`, prompt)
	if err != nil {
		return sentPrompt{}, fmt.Errorf("named versions: %w", err)
	}
	var out sentPrompt
	for _, e := range named {
		out.named, out.bytes = append(out.named, e.number), out.bytes+e.bytes
	}
	recent, err := collect(ctx, q, scan, `SELECT number, length(spec) FROM registry_prompt_versions
		WHERE prompt = $1 ORDER BY number DESC LIMIT $2`, prompt, maxSentVersions)
	if err != nil {
		return sentPrompt{}, fmt.Errorf("new versions: %w", err)
	}
	if len(recent) > 0 {
		out.from = recent[0].number + 1
	}
	for _, e := range recent {
		more := e.bytes
		if slices.Contains(out.named, e.number) {
			more = 0
		}
		if out.bytes+more > s.opts.MaxModelBytes {
			break
		}
		out.from, out.bytes = e.number, out.bytes+more
	}
	return out, nil
}

// checkPromptFits refuses a change after which what is named would not fit in a
// message.
func (s *Store) checkPromptFits(ctx context.Context, c *change, prompt string) error {
	sent, err := s.promptSent(ctx, c.tx, prompt)
	if err == nil && sent.bytes > s.opts.MaxModelBytes {
		err = apierr.New(apierr.FailedPrecondition, "the versions of the prompt %q that aliases and arms name take %d bytes, and may take %d",
			prompt, sent.bytes, s.opts.MaxModelBytes).WithField("version")
	}
	return err
}

// promptStates returns the whole state of the prompts named from first to last.
func (s *Store) promptStates(ctx context.Context, q querier, first, last string) ([]*registryv1.PromptState, error) {
	list, err := prompts(ctx, q, `name >= $1 AND name <= $2 ORDER BY name`, first, last)
	if err != nil {
		return nil, err
	}
	out := make([]*registryv1.PromptState, 0, len(list))
	for _, p := range list {
		sent, err := s.promptSent(ctx, q, p.GetName())
		if err != nil {
			return nil, err
		}
		st := &registryv1.PromptState{Prompt: p}
		st.Versions, err = collect(ctx, q, scanPromptVersion, promptVersionQuery+`AND (number >= $2 OR number IN (`+namedPromptVersions+`))
			ORDER BY number`, p.GetName(), sent.from)
		if err != nil {
			return nil, fmt.Errorf("versions of a prompt: %w", err)
		}
		for _, v := range st.GetVersions() {
			v.Description = ""
		}
		st.OmittedVersions = p.GetVersionCount() - int32(len(st.GetVersions()))
		out = append(out, st)
	}
	return out, nil
}

// PromptPage is some of the prompts, by name.
type PromptPage struct {
	Prompts []*registryv1.PromptState
	// After is where the next page goes on.
	After string
	// Last says that there is no next page.
	Last bool
}

// PromptPage returns the whole state of the prompts after the given name, as many
// as make a message, as Page does of models.
func (s *Store) PromptPage(ctx context.Context, after string) (*PromptPage, error) {
	var out *PromptPage
	err := s.snapshot(ctx, "page of prompts", func(ctx context.Context, q querier) error {
		out = &PromptPage{After: after, Last: true}
		list, err := collect(ctx, q, scanText,
			`SELECT name FROM registry_prompts WHERE name > $1 ORDER BY name LIMIT $2`, after, maxBatchChanges)
		if err != nil {
			return fmt.Errorf("names of prompts: %w", err)
		}
		out.Last = len(list) < maxBatchChanges
		size := 0
		for i, name := range list {
			states, err := s.promptStates(ctx, q, name, name)
			if err != nil {
				return err
			}
			for _, st := range states {
				size += proto.Size(st)
			}
			if size > maxBatchBytes && i > 0 {
				out.Last = false
				break
			}
			out.Prompts, out.After = append(out.Prompts, states...), name
		}
		return nil
	})
	return out, err
}
