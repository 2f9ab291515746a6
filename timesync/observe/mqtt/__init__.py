"""The appliance at an MQTT broker: what it publishes there, and all appliances of a broker side by side."""
