package sink

import "github.com/logcapturer/log_capturer/internal/units"

// Delivery is what the agent owes a sink.
type Delivery string

// The kinds of delivery.
const (
	// Required: a line counts as delivered when this sink has it too. While it does not
	// take lines, sources wait once its memory and spool are full.
	Required Delivery = "required"
	// BestEffort: the sink gets what it takes in time. It holds up nobody: what finds no
	// room is dropped for it, and counted.
	BestEffort Delivery = "best_effort"
)

// Common is what every sink's settings have; they embed it.
type Common struct {
	Delivery Delivery `yaml:"delivery" jsonschema:"enum=required,enum=best_effort" jsonschema_description:"required: positions move on, and sources go on, only with this sink. best_effort: it holds up nobody; what finds no room in its memory and spool is dropped for it, and counted."`
}

// DefaultCommon is what holds when the file says nothing.
func DefaultCommon() Common { return Common{Delivery: Required} }

// Kind returns what the agent owes the sink.
func (c Common) Kind() Delivery { return c.Delivery }

// Validate reports unknown words. Embedding settings call it from their own.
func (c Common) Validate() []units.FieldError {
	return units.OneOf("delivery", string(c.Delivery), string(Required), string(BestEffort))
}
