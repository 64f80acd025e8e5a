package split_test

import (
	"bufio"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/inference/internal/split"
)

// ranges makes one piece for each weight.
func ranges(weights ...uint32) []split.Range {
	var out []split.Range
	var end uint32
	for arm, w := range weights {
		if end += w; w > 0 {
			out = append(out, split.Range{End: end, Arm: arm})
		}
	}
	return out
}

// A million subjects: each arm has its share of them within 0.1 % of all.
func TestAMillionSubjects(t *testing.T) {
	t.Parallel()
	weights := []uint32{10_000, 90_000, 400_000, 500_000}
	e := split.Experiment{Salt: "6a1f0e9b", Arms: ranges(weights...)}
	counts := make([]int, len(weights))
	const n = 1_000_000
	step := 1
	if raceEnabled {
		step = 10 // the detector makes each ten times as slow
	}
	var s split.Subject
	for i := 0; i < n; i += step {
		s.User = "user:" + strconv.Itoa(i)
		counts[e.Decide(&s)]++
	}
	for i, w := range weights {
		got, p := float64(counts[i])/float64(n/step), float64(w)/split.Total
		if math.Abs(got-p) > 0.001*math.Sqrt(float64(step)) {
			t.Errorf("arm %d has %.5f of the subjects, want %.5f", i, got, p)
		}
	}
}

// With a hundred salts the subjects fall uniformly: the chi-square statistic of 20
// equal arms has 19 degrees of freedom, mean 19 and variance 38. The mean of a
// hundred has a standard deviation of 0.62, and 53.3 is passed once in 30,000.
func TestUniformOverSalts(t *testing.T) {
	t.Parallel()
	const arms, subjects, salts = 20, 4_000, 100
	weights := make([]uint32, arms)
	for i := range weights {
		weights[i] = split.Total / arms
	}
	sum := 0.0
	for salt := range salts {
		e := split.Experiment{Salt: "salt-" + strconv.Itoa(salt), Arms: ranges(weights...)}
		var counts [arms]int
		for i := range subjects {
			counts[e.Decide(&split.Subject{User: strconv.Itoa(i)})]++
		}
		x := 0.0
		for _, n := range counts {
			d := float64(n) - subjects/arms
			x += d * d / (subjects / arms)
		}
		if sum += x; x > 53.3 {
			t.Errorf("salt %d: chi-square %.1f", salt, x)
		}
	}
	if mean := sum / salts; math.Abs(mean-19) > 3 {
		t.Errorf("the mean of chi-square is %.2f, want about 19", mean)
	}
}

// Subjects of one layer are in one experiment at most, and who is in an experiment
// says nothing of the arm, nor of another layer.
func TestLayers(t *testing.T) {
	t.Parallel()
	half := ranges(500_000, 500_000)
	a := split.Experiment{Salt: "a", LayerSalt: "l", Layer: []split.Span{{Start: 0, End: 300_000}}, Arms: half}
	b := split.Experiment{Salt: "b", LayerSalt: "l", Layer: []split.Span{{Start: 300_000, End: 400_000}, {Start: 900_000, End: 1_000_000}}, Arms: half}
	c := split.Experiment{Salt: "c", LayerSalt: "other", Layer: []split.Span{{Start: 500_000, End: 1_000_000}}, Arms: half}
	const n = 60_000
	var inA, inB, inC, inAC, firstOfA int
	for i := range n {
		s := split.Subject{User: strconv.Itoa(i)}
		ofA, ofB, ofC := a.Decide(&s), b.Decide(&s), c.Decide(&s)
		if ofA >= 0 && ofB >= 0 {
			t.Fatalf("subject %d is in two experiments of one layer", i)
		}
		inA += one(ofA >= 0)
		inB += one(ofB >= 0)
		inC += one(ofC >= 0)
		inAC += one(ofA >= 0 && ofC >= 0)
		firstOfA += one(ofA == 0)
	}
	for what, c := range map[string][2]float64{
		"a": {float64(inA) / n, 0.3}, "b": {float64(inB) / n, 0.2}, "c": {float64(inC) / n, 0.5},
		"a and c": {float64(inAC) / n, 0.15}, "the first arm of a": {float64(firstOfA) / n, 0.15},
	} {
		if math.Abs(c[0]-c[1]) > 0.01 {
			t.Errorf("%s: %.4f of the subjects, want %.4f", what, c[0], c[1])
		}
	}
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestTargeting(t *testing.T) {
	t.Parallel()
	values := func(list ...string) map[string]bool {
		out := map[string]bool{}
		for _, v := range list {
			out[v] = true
		}
		return out
	}
	tenant := split.Condition{Attribute: split.Tenant, Values: values("acme", "initech")}
	role := split.Condition{Attribute: split.Role, Values: values("admin", "developer")}
	header := split.Condition{Attribute: split.Header, Header: "x-cohort", Values: values("b", "")}
	not := func(c split.Condition) split.Condition { c.Negated = true; return c }
	ada := split.Subject{User: "u", Tenant: "acme", Caller: "ada", Roles: []string{"reader", "admin"}, Headers: map[string]string{"x-cohort": "b"}}
	bob := split.Subject{User: "u", Tenant: "globex", Caller: "bob"}
	for name, c := range map[string]struct {
		conditions []split.Condition
		ada, bob   bool
	}{
		"everybody":       {nil, true, true},
		"a tenant":        {[]split.Condition{tenant}, true, false},
		"other tenants":   {[]split.Condition{not(tenant)}, false, true},
		"a role":          {[]split.Condition{role}, true, false},
		"no such role":    {[]split.Condition{not(role)}, false, true},
		"a header":        {[]split.Condition{header}, true, false},
		"no such header":  {[]split.Condition{not(header)}, false, true},
		"all of them":     {[]split.Condition{tenant, role, header}, true, false},
		"not all of them": {[]split.Condition{tenant, role, not(header)}, false, false},
	} {
		e := split.Experiment{
			Salt: "s", Arms: ranges(0, split.Total), Conditions: c.conditions,
			Overrides: map[split.Tester]int{{Tenant: "globex", Subject: "tess"}: 0},
		}
		if got := e.Decide(&ada) == 1; got != c.ada {
			t.Errorf("%s: ada is in: %v", name, got)
		}
		if got := e.Decide(&bob) == 1; got != c.bob {
			t.Errorf("%s: bob is in: %v", name, got)
		}
		tess := split.Subject{User: "ada", Tenant: "globex", Caller: "tess"}
		if got := e.Decide(&tess); got != 0 {
			t.Errorf("%s: the tester meets arm %d", name, got)
		}
		// Who says to be the tester is none, and neither is one of another tenant.
		for _, s := range []split.Subject{{User: "tess", Tenant: "globex", Caller: "bob"}, {User: "u", Tenant: "acme", Caller: "tess"}} {
			if e.Decide(&s) == 0 {
				t.Errorf("%s: %+v passes for the tester", name, s)
			}
		}
	}
}

func TestSticky(t *testing.T) {
	t.Parallel()
	s := split.Subject{User: "u", Session: "s", Tenant: "t", Request: "r"}
	none := split.Subject{Request: "r"}
	for by, want := range map[split.Sticky]string{split.ByUser: "u", split.BySession: "s", split.ByTenant: "t", split.ByRequest: "r"} {
		e := split.Experiment{Salt: "salt", Sticky: by, Arms: ranges(split.Point("salt", want), 1, split.Total-1-split.Point("salt", want))}
		if e.Decide(&s) != 1 {
			t.Errorf("%d does not stick to %q", by, want)
		}
		e.Arms = ranges(split.Point("salt", "r"), 1, split.Total-1-split.Point("salt", "r"))
		if e.Decide(&none) != 1 {
			t.Errorf("%d of a request that says nothing is not by its id", by)
		}
	}
	e := split.Experiment{Salt: "salt", Sticky: split.BySession, Arms: ranges(split.Point("salt", "u"), 1, split.Total-1-split.Point("salt", "u"))}
	if e.Decide(&split.Subject{User: "u", Request: "r"}) != 1 {
		t.Error("without a session it is not by the user")
	}
}

// The search in ranges agrees with looking at each of them.
func TestRanges(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 5))
	for range 200 {
		var cuts []uint32
		for range 1 + random.IntN(9) {
			cuts = append(cuts, 1+random.Uint32N(split.Total-1))
		}
		cuts = append(cuts, split.Total)
		slices.Sort(cuts)
		cuts = slices.Compact(cuts)
		e := split.Experiment{Salt: strconv.Itoa(random.Int())}
		for _, c := range cuts {
			e.Arms = append(e.Arms, split.Range{End: c, Arm: random.IntN(4)})
		}
		s := split.Subject{User: strconv.Itoa(random.Int())}
		point := split.Point(e.Salt, s.User)
		want := e.Arms[slices.IndexFunc(e.Arms, func(r split.Range) bool { return point < r.End })].Arm
		if got := e.Decide(&s); got != want {
			t.Fatalf("point %d of %v is of arm %d, want %d", point, e.Arms, got, want)
		}
	}
}

// whole is an experiment that has to look at everything.
func whole() (*split.Experiment, *split.Subject) {
	e := &split.Experiment{
		Salt: "0123456789abcdef", LayerSalt: "fedcba9876543210",
		Layer: []split.Span{{Start: 0, End: 999_999}}, Arms: ranges(10, 999_980, 10),
		Conditions: []split.Condition{{Attribute: split.Tenant, Values: map[string]bool{"acme": true, "initech": true}}},
		Overrides:  map[split.Tester]int{{Tenant: "acme", Subject: "tess"}: 0},
	}
	return e, &split.Subject{
		User: "6f9619ff-8b86-d011-b42d-00c04fc964ff", Tenant: "acme", Caller: "ada", Roles: []string{"reader"},
	}
}

// BenchmarkDecide tells a decision's processor time besides the time on the clock,
// which other processes make longer. The budget is 200 ns.
func BenchmarkDecide(b *testing.B) {
	e, s := whole()
	alone := *e
	alone.Layer = nil
	for name, e := range map[string]*split.Experiment{"alone": &alone, "layer": e} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			before, n := processor(), 0
			for b.Loop() {
				_ = e.Decide(s)
				n++
			}
			b.ReportMetric(float64(processor()-before)/float64(n), "cpu-ns/op")
		})
	}
}

// TestExperimentVectors reads the vectors out of the document that others implement
// from.
func TestExperimentVectors(t *testing.T) {
	t.Parallel()
	file, err := os.Open("../../../../docs/experiments.md")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	found := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		cells := strings.Split(lines.Text(), "|")
		if len(cells) != 10 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`0x") {
			continue
		}
		e := split.Experiment{LayerSalt: cell(t, cells[1]), Salt: cell(t, cells[2])}
		key := cell(t, cells[3])
		for text := range strings.FieldsSeq(strings.ReplaceAll(cells[4], "`", "")) {
			low, high, _ := strings.Cut(text, "-")
			e.Layer = append(e.Layer, split.Span{Start: number(t, low), End: number(t, high)})
		}
		for text := range strings.FieldsSeq(strings.ReplaceAll(cells[5], "`", "")) {
			arm, end, _ := strings.Cut(text, "<")
			e.Arms = append(e.Arms, split.Range{Arm: int(number(t, arm)), End: number(t, end)})
		}
		want, err := strconv.Atoi(strings.TrimSpace(cells[8]))
		if err != nil {
			t.Fatal(err)
		}
		got := e.Decide(&split.Subject{User: key})
		if got != want || split.Point(e.LayerSalt, key) != number(t, cells[6]) || split.Point(e.Salt, key) != number(t, cells[7]) {
			t.Errorf("%s: layer point %d, arm point %d, arm %d", lines.Text(), split.Point(e.LayerSalt, key), split.Point(e.Salt, key), got)
		}
		found++
	}
	if found < 6 {
		t.Fatalf("the document holds %d vectors; want at least 6", found)
	}
}

func number(t *testing.T, text string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}
