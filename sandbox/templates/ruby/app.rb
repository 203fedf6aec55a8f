# frozen_string_literal: true

# The web service of @NAME@: `ruby app.rb PORT VERSION`. Needs nothing but Ruby itself.
require 'json'
require 'socket'

# The status line and the answer to a request for that path.
def answer(path, version)
  case path
  when '/'
    ['200 OK', { application: '@NAME@', version: version, host: Socket.gethostname }]
  when '/health'
    ['200 OK', { version: version }]
  else
    ['404 Not Found', { error: 'no such page' }]
  end
end

def reply(client, version)
  path = client.gets.to_s[/\AGET (\S+)/, 1]
  nil until ['', "\r\n", "\n"].include?(client.gets.to_s)
  status, said = answer(path, version)
  body = JSON.generate(said)
  client.print "HTTP/1.1 #{status}\r\nContent-Type: application/json\r\n",
               "Content-Length: #{body.bytesize}\r\nConnection: close\r\n\r\n", body
rescue SystemCallError
  nil # the client has gone
ensure
  client.close
end

if $PROGRAM_NAME == __FILE__
  port, version = ARGV
  server = TCPServer.new('0.0.0.0', Integer(port))
  loop { Thread.new(server.accept) { |client| reply(client, version) } }
end
