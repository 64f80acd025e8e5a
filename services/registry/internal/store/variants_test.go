package store_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

func number(n int32) store.VersionKey { return store.VersionKey{Number: n} }

// add creates a variant of version 1 of the model.
func (e *env) add(model, name string, seed int, quality *registryv1.Quality) *registryv1.Variant {
	e.t.Helper()
	v, err := e.tryAdd(model, name, seed, quality)
	return must(e.t, v, err)
}

func (e *env) tryAdd(model, name string, seed int, quality *registryv1.Quality) (*registryv1.Variant, error) {
	e.t.Helper()
	v := storetest.Variant(e.t, model, name, seed)
	v.Quality = quality
	return e.CreateVariant(e.t.Context(), "test", number(1), v)
}

// perplexities is a quality as who measures it gives it.
func perplexities(of, source float64, from string) *registryv1.Quality {
	return &registryv1.Quality{Perplexity: of, SourcePerplexity: source, Source: from}
}

func (s suite) variants(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	version := e.version("m", 1)
	e.version("m", 2)
	e.clock.Advance(time.Minute)

	given := storetest.Variant(t, "m", "q8_0", 1)
	given.Spec.Artifacts = append(given.Spec.Artifacts,
		&commonv1.Artifact{Uri: "file:///b", SizeBytes: 20, Role: "weights"}, &commonv1.Artifact{Uri: "file:///c", SizeBytes: 400, Role: "tokenizer"})
	given.Quality = &registryv1.Quality{Loss: 0.01}
	made, err := e.CreateVariant(ctx, "ana", store.VersionKey{Digest: version.GetDigest()}, given)
	check(t, err)
	want := proto.CloneOf(given)
	want.Version, want.SizeBytes, want.CreateTime = 1, 1+20, made.GetCreateTime()
	if !proto.Equal(made, want) || !made.GetCreateTime().AsTime().Equal(start.Add(time.Minute)) {
		t.Errorf("made %v\nwant %v", made, want)
	}
	if m, err := e.GetModel(ctx, "m"); err != nil || m.GetVersionCount() != 2 || !m.GetUpdateTime().AsTime().Equal(start.Add(time.Minute)) {
		t.Errorf("the model afterwards: %v, %v", m, err)
	}
	first := e.add("m", "awq", 3, nil)
	if first.GetQuality() != nil {
		t.Errorf("a variant that was not measured has %v", first.GetQuality())
	}
	other, err := e.CreateVariant(ctx, "", number(2), storetest.Variant(t, "m", "awq", 4))
	check(t, err)

	got, err := e.GetVariant(ctx, "m", number(1), "q8_0")
	check(t, err)
	if !proto.Equal(got, made) {
		t.Errorf("got %v\nwant %v", got, made)
	}
	whole, err := e.GetVersion(ctx, "m", number(1))
	check(t, err)
	wantVersion := proto.CloneOf(version)
	wantVersion.Variants = []*registryv1.Variant{first, made}
	if !proto.Equal(whole, wantVersion) {
		t.Errorf("got %v\nwant %v", whole, wantVersion)
	}
	if again := e.version("m", 1); !proto.Equal(again, wantVersion) {
		t.Errorf("created again: %v\nwant %v", again, wantVersion)
	}
	list, err := e.ListVersions(ctx, "m", 0, 10)
	check(t, err)
	if len(list) != 2 || !proto.Equal(list[1], wantVersion) || len(list[0].GetVariants()) != 1 || !proto.Equal(list[0].GetVariants()[0], other) {
		t.Errorf("listed %v", list)
	}

	check(t, e.DeleteVariant(ctx, "ana", "m", number(1), "awq"))
	_, err = e.GetVariant(ctx, "m", number(1), "awq")
	wantReason(t, err, apierr.NotFound, "variant")
	wantReason(t, e.DeleteVariant(ctx, "ana", "m", number(1), "awq"), apierr.NotFound, "variant")
	if _, err := e.GetVariant(ctx, "m", number(2), "awq"); err != nil {
		t.Errorf("a variant of another version went with it: %v", err)
	}
	e.add("m", "awq", 5, nil) // the name is free for other content

	check(t, e.PurgeModel(ctx, "", "m"))
	e.model("m")
	if v := e.version("m", 1); len(v.GetVariants()) != 0 {
		t.Errorf("a model made again has the variants %v", v.GetVariants())
	}
}

func (s suite) variantRefused(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	version := e.version("m", 1)
	there := e.add("m", "q4", 1, nil)
	q := func(change func(*registryv1.Quality)) func(*registryv1.Variant) {
		return func(v *registryv1.Variant) { v.Quality = perplexities(11, 10, ""); change(v.Quality) }
	}
	tests := map[string]struct {
		change func(*registryv1.Variant)
		reason apierr.Reason
		field  string
	}{
		"the version's own name": {func(v *registryv1.Variant) { v.Name = "base" }, apierr.InvalidArgument, "variant"},
		"no name":                {func(v *registryv1.Variant) { v.Name = "\x00" }, apierr.InvalidArgument, "variant"},
		"no model":               {func(v *registryv1.Variant) { v.Model = "absent" }, apierr.ModelNotFound, "model"},
		"other content":          {func(v *registryv1.Variant) { v.Name = "q4" }, apierr.AlreadyExists, "variant"},
		"content of another":     {func(v *registryv1.Variant) { v.Digest = there.GetDigest() }, apierr.AlreadyExists, "spec"},
		"content of the version": {func(v *registryv1.Variant) { v.Digest = version.GetDigest() }, apierr.AlreadyExists, "spec"},
		"another task":           {func(v *registryv1.Variant) { v.Spec.Task = commonv1.Task_TASK_EMBEDDING }, apierr.InvalidArgument, "spec.task"},
		"another length":         {func(v *registryv1.Variant) { v.Spec.ContextLength = 1 }, apierr.InvalidArgument, "spec.context_length"},
		"other vectors":          {func(v *registryv1.Variant) { v.Spec.EmbeddingDimensions = 1 }, apierr.InvalidArgument, "spec.embedding_dimensions"},
		"another continuation":   {func(v *registryv1.Variant) { v.Spec.Continuation = true }, apierr.InvalidArgument, "spec.continuation"},
		"sizes beyond 64 bits": {func(v *registryv1.Variant) {
			v.Spec.Artifacts = []*commonv1.Artifact{{SizeBytes: math.MaxInt64}, {SizeBytes: 1}}
		}, apierr.InvalidArgument, "spec.artifacts"},
		"one perplexity":                           {q(func(q *registryv1.Quality) { q.SourcePerplexity = 0 }), apierr.InvalidArgument, "quality.source_perplexity"},
		"the other perplexity":                     {q(func(q *registryv1.Quality) { q.Perplexity = 0 }), apierr.InvalidArgument, "quality.perplexity"},
		"no number":                                {q(func(q *registryv1.Quality) { q.Perplexity = math.NaN() }), apierr.InvalidArgument, "quality.perplexity"},
		"no finite number":                         {q(func(q *registryv1.Quality) { q.SourcePerplexity = math.Inf(1) }), apierr.InvalidArgument, "quality.source_perplexity"},
		"an error below 0":                         {q(func(q *registryv1.Quality) { q.PerplexityError = -1 }), apierr.InvalidArgument, "quality.perplexity_error"},
		"an error without bound":                   {q(func(q *registryv1.Quality) { q.SourcePerplexityError = math.Inf(1) }), apierr.InvalidArgument, "quality.source_perplexity_error"},
		"a loss that is none":                      {q(func(q *registryv1.Quality) { q.Loss = math.NaN() }), apierr.InvalidArgument, "quality.loss"},
		"a loss of more than all there is to gain": {q(func(q *registryv1.Quality) { q.Loss = -1.5 }), apierr.InvalidArgument, "quality.loss"},
		"a perplexity below 1": {
			q(func(q *registryv1.Quality) { q.Perplexity, q.SourcePerplexity = 2, 0.5 }), apierr.InvalidArgument, "quality.source_perplexity",
		},
		"a source that is not there": {q(func(q *registryv1.Quality) { q.Source = "f16" }), apierr.NotFound, "quality.source"},
		"itself as its source":       {q(func(q *registryv1.Quality) { q.Source = "new" }), apierr.NotFound, "quality.source"},
		"a source without a measure": {q(func(q *registryv1.Quality) { q.Source = "q4" }), apierr.FailedPrecondition, "quality.source"},
	}
	before := e.revision()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v := storetest.Variant(t, "m", "new", 2)
			tt.change(v)
			_, err := e.CreateVariant(ctx, "", number(1), v)
			wantReason(t, err, tt.reason, tt.field)
		})
	}
	_, err := e.CreateVariant(ctx, "", number(2), storetest.Variant(t, "m", "new", 2))
	wantReason(t, err, apierr.NotFound, "version")
	wantReason(t, e.DeleteVariant(ctx, "", "m", number(2), "q4"), apierr.NotFound, "version")
	wantReason(t, e.DeleteVariant(ctx, "", "absent", number(1), "q4"), apierr.ModelNotFound, "model")
	wantReason(t, e.DeleteVariant(ctx, "", "m", number(1), "a\x00"), apierr.NotFound, "variant")
	_, err = e.GetVariant(ctx, "m", number(1), "a\x00")
	wantReason(t, err, apierr.NotFound, "variant")

	_, err = e.tryAdd("m", "q4", 2, nil)
	if got := apierr.From(err).Metadata["digest"]; got != there.GetDigest() {
		t.Errorf("the refusal names the digest %q, want %q", got, there.GetDigest())
	}
	_, err = e.tryAdd("m", "new", 1, nil)
	if got := apierr.From(err).Metadata["variant"]; got != "q4" {
		t.Errorf("the refusal names the variant %q, want q4", got)
	}
	if now := e.revision(); now != before {
		t.Errorf("what was refused moved the revision from %d to %d", before, now)
	}

	for i := 1; i < store.MaxVariants; i++ {
		e.add("m", fmt.Sprintf("v%d", i), 100+i, nil)
	}
	_, err = e.tryAdd("m", "one-more", 99, nil)
	wantReason(t, err, apierr.FailedPrecondition, "variant")
	e.add("m", "v1", 101, perplexities(1, 1, "")) // one that is there is no more
	check(t, e.DeleteVariant(ctx, "", "m", number(1), "v1"))
	e.add("m", "one-more", 99, nil)
}

// The bytes of a model's variants count, and come back.
func (s suite) variantBytes(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{MaxModelBytes: 2000})
	ctx := t.Context()
	e.model("m")
	e.version("m", 1)
	large := func(name string, seed, description int) error {
		v := storetest.Variant(t, "m", name, seed)
		v.Description = strings.Repeat("x", description)
		_, err := e.CreateVariant(ctx, "", number(1), v)
		return err
	}
	check(t, large("a", 1, 1000))
	_, err := e.SetAlias(ctx, "", "m", "production", 1, "") // it is sent, whatever comes after
	check(t, err)
	wantReason(t, large("b", 2, 600), apierr.FailedPrecondition, "model")
	_, err = e.CreateVersion(ctx, "", func() *registryv1.Version {
		v := storetest.Version(t, "m", 7)
		v.Description = strings.Repeat("x", 600)
		return v
	}())
	wantReason(t, err, apierr.FailedPrecondition, "model")
	for range 3 {
		check(t, e.DeleteVariant(ctx, "", "m", number(1), "a"))
		check(t, large("a", 1, 1000))
	}
	// A quality counts too, and one that is smaller gives bytes back.
	check(t, large("b", 2, 155))
	quality := perplexities(2, 1, "")
	quality.TextSha256 = strings.Repeat("0", 64)
	quality.PerplexityError, quality.SourcePerplexityError, quality.Tokens, quality.Window = 0.1, 0.1, math.MaxInt64, math.MaxInt32
	_, err = e.tryAdd("m", "b", 2, quality)
	wantReason(t, err, apierr.FailedPrecondition, "model")
	check(t, e.DeleteVariant(ctx, "", "m", number(1), "b"))
	for range 3 {
		e.add("m", "c", 3, quality)
		e.add("m", "c", 3, &registryv1.Quality{})
	}
	// Bytes are given back under a limit that has become lower meanwhile.
	e.opts.MaxModelBytes = 10
	e.Store = e.open()
	e.add("m", "c", 3, &registryv1.Quality{})
	check(t, e.DeleteVariant(ctx, "", "m", number(1), "a"))
}

func (s suite) variantChanges(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	e.version("m", 1)
	e.version("m", 2)
	e.model("n")
	e.version("n", 1)
	e.add("n", "q4", 1, nil)
	for _, step := range []struct {
		name string
		do   func()
		want []string
	}{
		{"added", func() { e.add("m", "q4", 1, nil) }, []string{"q4 0"}},
		{"another", func() { e.add("m", "awq", 2, &registryv1.Quality{Loss: 0.5}) }, []string{"awq 0.5", "q4 0"}},
		{"measured", func() { e.add("m", "q4", 1, perplexities(3, 2, "")) }, []string{"awq 0.5", "q4 0.5"}},
		{"deleted", func() { check(t, e.DeleteVariant(ctx, "", "m", number(1), "awq")) }, []string{"q4 0.5"}},
	} {
		before := e.revision()
		step.do()
		batch, err := e.Changes(ctx, store.Position{Revision: before})
		check(t, err)
		if len(batch.Changes) != 1 || batch.Changes[0].Model != "m" || batch.To.Revision != before+1 {
			t.Fatalf("%s: %+v", step.name, batch)
		}
		versions := batch.Changes[0].State.GetVersions()
		var got []string
		for _, v := range versions[0].GetVariants() {
			got = append(got, fmt.Sprintf("%s %v", v.GetName(), v.GetQuality().GetLoss()))
		}
		if !slices.Equal(got, step.want) || len(versions) != 2 || len(versions[1].GetVariants()) != 0 {
			t.Errorf("%s: variants %q, want %q; versions %v", step.name, got, step.want, versions)
		}
	}
	page, err := e.Page(ctx, "")
	check(t, err)
	if len(page.Models) != 2 || len(page.Models[0].GetVersions()[0].GetVariants()) != 1 || len(page.Models[1].GetVersions()[0].GetVariants()) != 1 {
		t.Errorf("the page is %v", page.Models)
	}
}

// Writers on two replicas create the same variants at once: each is made once.
func (s suite) concurrentVariants(t *testing.T) {
	const writers, contents = 6, 20
	e := newEnv(t, s.databases, store.Options{})
	replicas := []*store.Store{e.Store, e.open()}
	e.model("m")
	e.version("m", 1)
	before := e.revision()
	together(writers, func(w int) {
		for i := range contents {
			seed := (w*3 + i) % contents
			v := storetest.Variant(t, "m", fmt.Sprintf("v%d", seed), seed)
			if _, err := replicas[w%2].CreateVariant(t.Context(), "", number(1), v); err != nil {
				t.Errorf("writer %d, content %d: %v", w, seed, err)
			}
		}
	})
	v, err := e.GetVersion(t.Context(), "m", number(1))
	check(t, err)
	if len(v.GetVariants()) != contents {
		t.Errorf("%d variants, want %d", len(v.GetVariants()), contents)
	}
	if got := e.revision(); got != before+contents {
		t.Errorf("%d revisions for %d variants", got-before, contents)
	}
}
