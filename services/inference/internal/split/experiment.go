package split

// Sticky says what always meets the same arm of an experiment.
type Sticky uint8

// What an experiment may stick to.
const (
	// ByUser is the routing key: the request's user, else the caller's subject.
	ByUser Sticky = iota
	// BySession is the conversation; the user where there is none.
	BySession
	// ByTenant is the caller's tenant; the user where it is not known.
	ByTenant
	// ByRequest is each request by itself.
	ByRequest
)

// Subject is what a decision looks at.
type Subject struct {
	// User is the routing key, and Request the request's id, which decides where
	// there is nothing else.
	User, Session, Request string
	// Tenant and Caller are who authenticated, with the roles there.
	Tenant, Caller string
	Roles          []string
	// Headers are by name in lower case.
	Headers map[string]string
}

// key returns what the experiment sticks to; own says that it is the request's id.
func (s *Subject) key(by Sticky) (key string, own bool) {
	switch {
	case by == BySession && s.Session != "":
		return s.Session, false
	case by == ByTenant && s.Tenant != "":
		return s.Tenant, false
	case by != ByRequest && s.User != "":
		return s.User, false
	}
	return s.Request, true
}

// Attribute is what a condition looks at.
type Attribute uint8

// What a condition may look at.
const (
	Tenant Attribute = iota
	Role
	Header
)

// Condition is met by subjects that have one of the values; a negated one by those
// that have none of them.
type Condition struct {
	Attribute Attribute
	Header    string
	Values    map[string]bool
	Negated   bool
}

func (c *Condition) met(s *Subject) bool {
	has := false
	switch c.Attribute {
	case Tenant:
		has = c.Values[s.Tenant]
	case Role:
		for _, r := range s.Roles {
			has = has || c.Values[r]
		}
	case Header:
		value, ok := s.Headers[c.Header]
		has = ok && c.Values[value]
	}
	return has != c.Negated
}

// Tester is somebody who is given an arm.
type Tester struct{ Tenant, Subject string }

// Span is the points from Start on and before End.
type Span struct{ Start, End uint32 }

// Range is the points after the range before it and before End.
type Range struct {
	End uint32
	Arm int
}

// Experiment is what decides who meets which of its arms. It is not changed once
// made; docs/experiments.md specifies it.
type Experiment struct {
	Salt, LayerSalt string
	Sticky          Sticky
	// Layer is the points of the layer that are the experiment's; nil is all.
	Layer []Span
	// Arms covers [0, Total) in order; empty when the experiment has no arms.
	Arms       []Range
	Conditions []Condition
	Overrides  map[Tester]int
}

// Decide returns the number of the arm that the subject meets, and -1 when the
// experiment is not for it. It allocates nothing.
func (e *Experiment) Decide(s *Subject) int {
	if len(e.Arms) == 0 {
		return -1
	}
	if arm, ok := e.override(s); ok {
		return arm
	}
	if !e.For(s) {
		return -1
	}
	key := e.Key(s)
	if len(e.Layer) > 0 && !within(e.Layer, Point(e.LayerSalt, key)) {
		return -1
	}
	return find(e.Arms, Point(e.Salt, key))
}

// Key is what the decision for a subject is stuck to.
func (e *Experiment) Key(s *Subject) string {
	key, _ := s.key(e.Sticky)
	return key
}

// ByItself reports whether a request of the subject is decided on by its own id: the
// next one of the same subject may meet another arm.
func (e *Experiment) ByItself(s *Subject) bool {
	_, own := s.key(e.Sticky)
	return own
}

// Overridden reports whether the subject is a tester, whose arm is given.
func (e *Experiment) Overridden(s *Subject) bool {
	_, ok := e.override(s)
	return ok
}

func (e *Experiment) override(s *Subject) (arm int, ok bool) {
	if len(e.Overrides) == 0 {
		return 0, false
	}
	arm, ok = e.Overrides[Tester{s.Tenant, s.Caller}]
	return arm, ok
}

// For reports whether the subject meets the conditions.
func (e *Experiment) For(s *Subject) bool {
	for i := range e.Conditions {
		if !e.Conditions[i].met(s) {
			return false
		}
	}
	return true
}

// within reports whether a point lies in one of the spans, which are in order.
func within(spans []Span, point uint32) bool {
	low, high := 0, len(spans)
	for low < high { // the first that ends after the point
		if mid := (low + high) / 2; spans[mid].End <= point {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low < len(spans) && spans[low].Start <= point
}

func find(ranges []Range, point uint32) int {
	low, high := 0, len(ranges)
	for low < high {
		if mid := (low + high) / 2; ranges[mid].End <= point {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == len(ranges) {
		return -1
	}
	return ranges[low].Arm
}
