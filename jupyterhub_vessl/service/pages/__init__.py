"""The pages that people see: server-rendered, working without JavaScript for the essentials."""
