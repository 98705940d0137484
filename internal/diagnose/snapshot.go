package diagnose

import "time"

// Snapshot is one census.
type Snapshot struct {
	Time        time.Time        `json:"time"`
	Started     time.Time        `json:"started"`
	Goroutines  Goroutines       `json:"goroutines"`
	Descriptors Descriptors      `json:"descriptors"`
	Heap        Heap             `json:"heap"`
	Held        []Held           `json:"held"`
	Components  []ComponentState `json:"components"`
}

// Goroutines by owner.
type Goroutines struct {
	Total    int              `json:"total"`
	Expected int              `json:"expected"`
	Owners   []GoroutineOwner `json:"owners"`
}

// GoroutineOwner is who started goroutines.
type GoroutineOwner struct {
	Owner     string    `json:"owner"`
	Component string    `json:"component"`
	Count     int       `json:"count"`
	Tasks     int       `json:"tasks"`
	Expected  int       `json:"expected"`
	Oldest    time.Time `json:"oldest,omitzero"`
	Stack     string    `json:"stack,omitempty"`
}

// Descriptors by kind.
type Descriptors struct {
	Total int            `json:"total"`
	Limit int            `json:"limit"`
	Kinds map[string]int `json:"kinds"`
}

// Heap in bytes.
type Heap struct {
	LiveBytes  int64      `json:"live_bytes"`
	LimitBytes int64      `json:"limit_bytes"`
	BatchBytes int64      `json:"batch_bytes"`
	Sites      []HeapSite `json:"sites,omitempty"`
}

// HeapSite is a function and what it allocated that is still in use.
type HeapSite struct {
	Function  string `json:"function"`
	Component string `json:"component"`
	Bytes     int64  `json:"bytes"`
}

// Held is what is open of one kind.
type Held struct {
	Owner     string    `json:"owner"`
	Component string    `json:"component"`
	Kind      string    `json:"kind"`
	Count     int       `json:"count"`
	Expected  int       `json:"expected"`
	Oldest    time.Time `json:"oldest,omitzero"`
	Unclosed  int64     `json:"unclosed"`
	Endpoint  string    `json:"endpoint,omitempty"`
}

// ComponentState tells whether a component runs.
type ComponentState struct {
	Name    string `json:"name"`
	Running bool   `json:"running"`
}
