package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/filter"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

func parse(t *testing.T, text string) filter.Node {
	t.Helper()
	n, err := filter.Parse(text)
	check(t, err)
	return n
}

func (s suite) modelMetadata(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	want := &registryv1.Model{
		Name: "m", Task: commonv1.Task_TASK_CHAT, Owner: "ana", Tenant: "acme", Licence: "Apache-2.0", Card: "# M",
	}
	made, err := e.CreateModel(ctx, "", proto.CloneOf(want))
	check(t, err)
	want.CreateTime, want.UpdateTime = made.GetCreateTime(), made.GetUpdateTime()
	got, err := e.GetModel(ctx, "m")
	check(t, err)
	if !proto.Equal(made, want) || !proto.Equal(got, want) {
		t.Errorf("made %v, got %v, want %v", made, got, want)
	}
	if tenant, found, err := e.TenantOf(ctx, "m"); tenant != "acme" || !found || err != nil {
		t.Errorf("its tenant: %q, %v, %v", tenant, found, err)
	}
	owner, card, shared := "bob", "", ""
	got, err = e.UpdateModel(ctx, "", "m", store.Update{Owner: &owner, Card: &card, Tenant: &shared})
	check(t, err)
	if got.GetOwner() != "bob" || got.GetCard() != "" || got.GetTenant() != "" || got.GetLicence() != "Apache-2.0" {
		t.Errorf("changed to %v", got)
	}
	before := e.revision()
	_, err = e.UpdateModel(ctx, "", "m", store.Update{Owner: &owner})
	check(t, err)
	if now := e.revision(); now != before {
		t.Errorf("the same owner changed the revision to %d", now)
	}
	v := storetest.Version(t, "m", 1)
	v.Spec.Task = commonv1.Task_TASK_EMBEDDING
	_, err = e.CreateVersion(ctx, "", v)
	wantReason(t, err, apierr.InvalidArgument, "spec.task")
	card = strings.Repeat("x", 5000)
	_, err = e.UpdateModel(ctx, "", "m", store.Update{Card: &card})
	check(t, err)
	if st := e.state("m"); st.GetModel().GetCard() != "" || st.GetModel().GetOwner() != "bob" {
		t.Errorf("watchers are sent %v", st.GetModel())
	}
	if list, err := e.ListModels(ctx, "", 1); err != nil || list[0].GetCard() != "" {
		t.Errorf("listed with its card: %v", err)
	}
}

// described returns a version of which much is said.
func described(t *testing.T, seed int) *registryv1.Version {
	t.Helper()
	v := storetest.Version(t, "m", seed)
	v.Licence, v.Labels = "MIT", map[string]string{"team": fmt.Sprintf("t%d", seed%3)}
	v.Metrics = map[string]float64{"eval/acc": float64(seed) / 10}
	v.IoSchema = &registryv1.IOSchema{InputJsonSchema: `{"type":"object"}`}
	v.Lineage = &registryv1.Lineage{TrainingRunUri: "https://runs.example/1"}
	return v
}

func (s suite) versionMetadata(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	v, err := e.CreateVersion(ctx, "", described(t, 1))
	check(t, err)
	got, err := e.GetVersion(ctx, "m", number(1))
	check(t, err)
	want := described(t, 1)
	if !proto.Equal(v, got) || got.GetLicence() != "MIT" || got.GetMetrics()["eval/acc"] != 0.1 ||
		!proto.Equal(got.GetIoSchema(), want.GetIoSchema()) || !proto.Equal(got.GetLineage(), want.GetLineage()) {
		t.Errorf("made %v, got %v", v, got)
	}
	orphan := described(t, 2)
	orphan.Lineage.ParentVersion = 7
	_, err = e.CreateVersion(ctx, "", orphan)
	wantReason(t, err, apierr.NotFound, "lineage.parent_version")
	orphan.Lineage.ParentVersion = 1
	_, err = e.CreateVersion(ctx, "", orphan)
	check(t, err)

	licence := ""
	got, err = e.UpdateVersion(ctx, "", "m", number(1), store.VersionUpdate{
		Licence: &licence, Labels: map[string]string{"tier": "a"}, RemoveLabels: []string{"team"}, Metrics: map[string]float64{"loss": -1},
	})
	check(t, err)
	if got.GetLicence() != "" || len(got.GetLabels()) != 1 || len(got.GetMetrics()) != 2 || got.GetDigest() != v.GetDigest() {
		t.Errorf("changed to %v", got)
	}
	before := e.revision()
	_, err = e.UpdateVersion(ctx, "", "m", number(1), store.VersionUpdate{Labels: map[string]string{"tier": "a"}})
	check(t, err)
	if e.revision() != before {
		t.Error("what was said already used up a revision")
	}
	_, err = e.UpdateVersion(ctx, "", "m", number(1), store.VersionUpdate{Lineage: &registryv1.Lineage{ParentVersion: 1}})
	wantReason(t, err, apierr.InvalidArgument, "lineage.parent_version")
	many := make(map[string]string)
	for i := range 70 {
		many[fmt.Sprint(i)] = ""
	}
	_, err = e.UpdateVersion(ctx, "", "m", number(1), store.VersionUpdate{Labels: many})
	wantReason(t, err, apierr.FailedPrecondition, "labels")

	st := e.state("m")
	if sent := st.GetVersions()[0]; sent.GetMetrics() != nil || sent.GetLineage() != nil || sent.GetIoSchema() != nil || sent.GetLabels()["tier"] != "a" {
		t.Errorf("watchers are sent %v", sent)
	}
	// Its byte-for-byte count never falls short.
	if counted, taken := e.versionBytes("m"), int64(proto.Size(&registryv1.ModelState{Versions: st.GetVersions()})); counted < taken {
		t.Errorf("%d bytes are counted, %d are sent", counted, taken)
	}
}

func (s suite) findModels(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	for i, name := range []string{"alpha", "beta", "gamma", "delta"} {
		e.clock.Advance(time.Second)
		_, err := e.CreateModel(ctx, "", &registryv1.Model{
			Name: name, Tenant: []string{"", "acme", "beta"}[i%3], Owner: "ana", Task: commonv1.Task(1 + i%2),
			Labels: map[string]string{"team": []string{"x", "y"}[i%2], "poterne.dev/z": "1"},
		})
		check(t, err)
	}
	e.version("gamma", 1)
	acme := "acme"
	tests := []struct {
		filter, order string
		tenant        *string
		want          string
	}{
		{"", "", nil, "alpha beta delta gamma"},
		{"", "name desc", nil, "gamma delta beta alpha"},
		{"", "create_time", nil, "alpha beta gamma delta"},
		{"", "update_time desc", nil, "gamma delta beta alpha"},
		{"", "", &acme, "alpha beta delta"},
		{`labels.team = "y"`, "", nil, "beta delta"},
		{`labels.team = "y"`, "name desc", nil, "delta beta"},
		{`labels.team = "y" AND tenant = "acme"`, "", nil, "beta"},
		{`labels.team != "y"`, "create_time desc", nil, "gamma alpha"},
		{`labels."poterne.dev/z":*`, "", nil, "alpha beta delta gamma"},
		{`NOT labels.none:*`, "", &acme, "alpha beta delta"},
		{`task = "embedding" OR name = "alpha"`, "", nil, "alpha beta delta"},
		{`name = "ga*"`, "", nil, "gamma"},
		{`version_count > 0`, "", nil, "gamma"},
		{`create_time > "2030-01-02T03:04:08Z"`, "", nil, "delta gamma"},
		{`owner = "bob"`, "", nil, ""},
	}
	for _, tt := range tests {
		for _, size := range []int{1, 3, 100} {
			query := store.Query{Filter: parse(t, tt.filter), OrderBy: tt.order, Tenant: tt.tenant, Limit: size}
			var got []string
			for {
				page, err := e.FindModels(ctx, query)
				check(t, err)
				for _, m := range page {
					got = append(got, m.GetName())
					query.After = store.ModelPlace(m, tt.order).String()
				}
				if len(page) < size {
					break
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%q by %q in pages of %d: %q, want %q", tt.filter, tt.order, size, got, tt.want)
			}
		}
	}
	for _, bad := range []string{`engine = "x"`, `labels. = "x"`, `owner < "x"`, `name:*`, `version_count = "many"`, `create_time > "soon"`, `name = "*a*"`, `metrics.x = 1`, `task = "TASK_CHAT"`, `name = "a" AND task = "chats"`} {
		n, err := filter.Parse(bad)
		if err == nil {
			_, err = e.FindModels(ctx, store.Query{Filter: n, Limit: 1})
			wantReason(t, err, apierr.InvalidArgument, "filter")
		}
	}
	_, err := e.FindModels(ctx, store.Query{OrderBy: "owner", Limit: 1})
	wantReason(t, err, apierr.InvalidArgument, "order_by")
	_, err = e.FindModels(ctx, store.Query{OrderBy: "create_time", After: "x", Limit: 1})
	wantReason(t, err, apierr.InvalidArgument, "page_token")
}

func (s suite) findVersions(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	e.model("other")
	e.version("other", 1)
	for seed := 1; seed <= 9; seed++ {
		v := described(t, seed)
		if seed%2 == 0 {
			v.Metrics = map[string]float64{"loss": -float64(seed), "tie": 1}
		}
		_, err := e.CreateVersion(ctx, "", v)
		check(t, err)
	}
	e.add("m", "q4", 5, nil)
	tests := []struct{ filter, order, want string }{
		{"", "", "[9 8 7 6 5 4 3 2 1]"},
		{"", "number", "[1 2 3 4 5 6 7 8 9]"},
		{"", "create_time desc", "[9 8 7 6 5 4 3 2 1]"},
		{`labels.team = "t1"`, "", "[7 4 1]"},
		{`labels.team = "t1"`, "number asc", "[1 4 7]"},
		{`engine = "sim" AND labels.team = "t1" AND number > 3`, "", "[7 4]"},
		{`labels.team = "t1" OR number = 2`, "", "[7 4 2 1]"},
		{"", "metrics.loss", "[8 6 4 2]"},
		{`labels.team = "t1"`, "metrics.loss desc", "[4]"},
		{"", "metrics.tie desc", "[8 6 4 2]"},
		{`metrics."eval/acc" >= 0.5`, "", "[9 7 5]"},
		{`metrics.loss < -5`, "", "[8 6]"},
		{`metrics.loss:*`, "number", "[2 4 6 8]"},
		{`NOT (licence = "MIT")`, "", "[]"},
		{`signed = "false" AND number <= 2`, "", "[2 1]"},
		{`lineage.training_run_uri = "https://runs.example/1"`, "number", "[1 2 3 4 5 6 7 8 9]"},
	}
	for _, tt := range tests {
		for _, size := range []int{1, 2, 100} {
			query := store.Query{Filter: parse(t, tt.filter), OrderBy: tt.order, Limit: size}
			got := []int32{}
			for {
				page, err := e.FindVersions(ctx, "m", query)
				check(t, err)
				for _, v := range page {
					got = append(got, v.GetNumber())
					query.After = store.VersionPlace(v, tt.order).String()
				}
				if len(page) < size {
					break
				}
			}
			if fmt.Sprint(got) != tt.want {
				t.Errorf("%q by %q in pages of %d: %v, want %s", tt.filter, tt.order, size, got, tt.want)
			}
		}
	}
	list, err := e.FindVersions(ctx, "m", store.Query{OrderBy: "number", Limit: 1})
	check(t, err)
	if len(list[0].GetVariants()) != 1 {
		t.Errorf("listed without its variant: %v", list[0])
	}
	_, err = e.FindVersions(ctx, "m", store.Query{OrderBy: "number", After: "x", Limit: 1})
	wantReason(t, err, apierr.InvalidArgument, "page_token")
}

// keys are the digests of signatures' keys.
func keys(sigs []*registryv1.Signature) (out []string) {
	for _, s := range sigs {
		out = append(out, s.GetKeyId())
	}
	slices.Sort(out)
	return out
}
